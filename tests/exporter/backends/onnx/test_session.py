"""What ONNX Runtime raises when a graph runs, in one sentence."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends.onnx import Session
from slide_export.core.errors import BundleError, RequestError


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A graph that gathers rows of a table [3, 2] by the numbers that it is fed."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "rows"], ["found"], name="gather")],
        "one",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [2, 2])],
        [numpy_helper.from_array(np.float32([[0, 1], [2, 3], [4, 5]]), "table")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return Session(path, {})


def test_outputs_have_their_names(session: Session) -> None:
    np.testing.assert_array_equal(session.run({"rows": np.int64([2, 0])})["found"], [[4, 5], [0, 1]])


@pytest.mark.parametrize(
    "feeds", [{}, {"rows": np.int64([1])}, {"rows": np.float32([1, 0])}, {"lines": np.int64([1, 0])}]
)
def test_other_inputs_are_refused(session: Session, feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(RequestError, match="expected inputs that the artifact takes, ONNX Runtime says: "):
        session.run(feeds)


def test_an_operator_that_fails_is_the_files_fault(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["weight", "scale"], ["values"], name="conv")],
        "one",
        [],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.int8([[1, 2]]), "weight"), numpy_helper.from_array(np.float32([[2]]), "scale")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(BundleError, match=r"expected a graph that ONNX Runtime can run, it says: .*Name:'conv'"):
        Session(path, {}).run({})
