"""What a quantized graph has in float, ONNX Runtime computes in float."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends.onnx import dtype_stats
from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes.keep_float import KeepFloat

CHANNELS, SIDE = 4, 8


def chain(quantized: tuple[bool, ...], step: str | None = None, **attributes: Any) -> onnx.ModelProto:
    """Layers in a row, each between roundings of its activations, with weights in int8 or in float32.

    Args:
        step: operator behind each layer.
        attributes: of each layer: a product where `transB` is among them, else a convolution.
    """
    rng = np.random.default_rng(0)
    kind = "Gemm" if "transB" in attributes else "Conv"
    inputs = CHANNELS // attributes.get("group", 1)
    weights = (CHANNELS, inputs) if kind == "Gemm" else (CHANNELS, inputs, 1, 1)
    sides = [3, CHANNELS] if kind == "Gemm" else [1, CHANNELS, SIDE, SIDE]
    nodes, value = [], "x"
    numbers = {"s": np.float32(0.02), "z": np.uint8(0 if step else 128), "none": np.int8(0)}
    tensors = [numpy_helper.from_array(np.asarray(number), name) for name, number in numbers.items()]
    for index, in_int8 in enumerate(quantized):
        weight = rng.integers(-20, 20, weights)
        stored = weight.astype(np.int8) if in_int8 else (weight * 0.0173 + 0.004).astype(np.float32)
        tensors.append(numpy_helper.from_array(stored, f"w{index}"))
        nodes += [
            helper.make_node("QuantizeLinear", [value, "s", "z"], [f"q{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", "s", "z"], [f"d{index}"]),
        ]
        if in_int8:
            nodes.append(helper.make_node("DequantizeLinear", [f"w{index}", "s", "none"], [f"f{index}"]))
        taken = [f"d{index}", f"f{index}" if in_int8 else f"w{index}"]
        nodes.append(helper.make_node(kind, taken, [f"c{index}"], f"/c{index}/{kind}", **attributes))
        value = f"c{index}"
        if step is not None:
            nodes.append(helper.make_node(step, [value], [f"r{index}"]))
            value = f"r{index}"
    nodes += [
        helper.make_node("QuantizeLinear", [value, "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def kept(proto: onnx.ModelProto) -> onnx.ModelProto:
    result = KeepFloat()(to_ir(proto))
    assert result.modified
    assert not KeepFloat()(result.model).modified
    return to_proto(result.model)


def run(proto: onnx.ModelProto) -> np.ndarray:
    """The output for random values, as the graph says it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    (fed,) = session.get_inputs()
    return session.run(None, {fed.name: np.random.default_rng(1).normal(size=fed.shape).astype(np.float32)})[0]


def computed(proto: onnx.ModelProto, folder: Path) -> dict[str, int]:
    onnx.save(proto, folder / "model.onnx")
    return dict(dtype_stats(folder / "model.onnx", {}).computed)


@pytest.mark.parametrize("attributes", [{}, {"group": 2}, {"transB": 1}], ids=["one group", "two groups", "product"])
@pytest.mark.parametrize("step", [None, "Relu", "Clip"])
def test_a_layer_in_float_between_two_in_int8_stays_in_float(
    step: str | None, attributes: dict[str, int], tmp_path: Path
) -> None:
    """The first line is what the pass is for: without it ONNX Runtime computes all three in int8."""
    proto = chain((True, False, True), step, **attributes)
    assert computed(proto, tmp_path) == {"int8": 3, "float32": 0}
    made = kept(proto)
    onnx.checker.check_model(made, full_check=True)
    assert computed(made, tmp_path) == {"int8": 2, "float32": 1}
    assert np.array_equal(run(proto), run(made))


def test_a_product_with_its_weight_as_it_is_has_the_channels_of_its_rows(tmp_path: Path) -> None:
    made = kept(chain((True, False, True), transB=0))
    assert computed(made, tmp_path) == {"int8": 2, "float32": 1}


@pytest.mark.parametrize("quantized", [(True, True), (False,), (True, False)])
def test_other_graphs_stay_as_they_are(quantized: tuple[bool, ...]) -> None:
    """The last layer gives the output, or another reads its result: ONNX Runtime leaves it."""
    proto = chain(quantized)
    if not quantized[-1]:
        proto.graph.output.add().CopyFrom(
            helper.make_tensor_value_info(f"c{len(quantized) - 1}", TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])
        )
    result = KeepFloat()(to_ir(proto))
    assert not result.modified
    assert to_proto(result.model) == proto
