"""Tables in half: which constants they are, what rounding them costs, and what stays as it was."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.fp16_constants import MIN_TABLE_ELEMENTS, HalveTables
from slide_export.graph.convert import to_ir, to_proto

SIDE = 128  # squared: just enough elements
HALF_ULP = 2.0**-11  # relative, of a float16 that is not subnormal


def build(table: NDArray[np.float32], *kinds: str) -> onnx.ModelProto:
    """A graph in which one node of each kind reads the same table, in modules blocks.0, blocks.1, ..."""
    nodes = [
        helper.make_node(kind, ["x", "table"], [f"y{index}"], name=f"/blocks.{index}/attn/{kind}")
        for index, kind in enumerate(kinds)
    ]
    shape = list(table.shape)
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape) for node in nodes]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(table, "table")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def halve_tables(proto: onnx.ModelProto, keep: Sequence[str]) -> onnx.ModelProto:
    """The graph after the pass, which leaves its argument and says whether there was a table."""
    before = proto.SerializeToString(deterministic=True)
    result = HalveTables(keep)(to_ir(proto))
    made = to_proto(result.model)
    assert proto.SerializeToString(deterministic=True) == before
    assert result.modified is (TensorProto.FLOAT16 in stored(made))
    return made


@pytest.fixture
def table() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)


def stored(proto: onnx.ModelProto) -> list[int]:
    return [tensor.data_type for tensor in proto.graph.initializer]


def test_an_added_table_is_half_as_large_and_off_by_half_a_unit(table: NDArray[np.float32]) -> None:
    import onnxruntime

    proto = halve_tables(build(table, "Add"), ())
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.zeros_like(table)})
    assert stored(proto) == [TensorProto.FLOAT16]
    assert len(proto.graph.initializer[0].raw_data) == 2 * table.size
    error = np.abs(found - table) / np.abs(table)
    assert 0 < error.max() <= HALF_ULP


@pytest.mark.parametrize("kinds", [("MatMul",), ("Mul",), ("Add", "MatMul")])
def test_what_is_multiplied_stays(kinds: tuple[str, ...], table: NDArray[np.float32]) -> None:
    proto = halve_tables(build(table, *kinds), ())
    assert stored(proto) == [TensorProto.FLOAT]
    assert [node.op_type for node in proto.graph.node] == list(kinds)


@pytest.mark.parametrize(("keep", "kind"), [("blocks.0", TensorProto.FLOAT), ("blocks.1", TensorProto.FLOAT16)])
def test_a_kept_module_keeps_its_table(keep: str, kind: int, table: NDArray[np.float32]) -> None:
    assert stored(halve_tables(build(table, "Add"), (keep,))) == [kind]


def test_a_small_table_and_one_beyond_half_stay(table: NDArray[np.float32]) -> None:
    assert table.size == MIN_TABLE_ELEMENTS
    assert stored(halve_tables(build(table[1:], "Add"), ())) == [TensorProto.FLOAT]
    table[0, 0] = 7e4
    assert stored(halve_tables(build(table, "Add"), ())) == [TensorProto.FLOAT]
