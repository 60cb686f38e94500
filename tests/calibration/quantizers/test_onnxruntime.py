"""Ranges that are merged chunk by chunk are those of all images, and every image is observed once."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slide_export.calibration.quantizers import onnxruntime
from slide_export.calibration.recipe import default
from slide_export.core.artifact import Feeds

WIDTH = 4


def linear() -> onnx.ModelProto:
    """x [N, 4] times a constant [4, 4]."""
    weight = np.random.default_rng(1).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "linear",
        values[:1],
        values[1:],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(count: int) -> list[Feeds]:
    drawn = np.random.default_rng(0).standard_normal((count, 1, WIDTH)).astype(np.float32)
    return [{"x": one} for one in drawn]


def scales(proto: onnx.ModelProto) -> list[float]:
    """Scales of what is quantized to 8 bits, the input's last."""
    constants = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    return [float(constants[node.input[1]]) for node in proto.graph.node if node.op_type == "QuantizeLinear"]


@pytest.mark.parametrize("ranges", ["minmax", "percentile"])
@pytest.mark.parametrize("count", [1, 49, 50, 51, 101])
def test_every_image_is_observed_once(count: int, ranges: str) -> None:
    chunk = onnxruntime.CHUNK_IMAGES.get(ranges, 1)
    reader = onnxruntime._Reader(feeds(count), chunk)
    assert len(reader) % chunk == 0
    seen = []
    for start in range(0, len(reader), chunk):
        reader.set_range(start, start + chunk)
        before = len(seen)
        while one := reader.get_next():
            seen.append(one["x"])
        assert 1 <= len(seen) - before <= chunk  # an empty chunk is refused by ONNX Runtime
    assert np.array_equal(seen, [one["x"] for one in feeds(count)])


@pytest.mark.parametrize("widest", [0, 49, 50, 60])
def test_the_widest_image_decides_wherever_it_stands(widest: int) -> None:
    given = feeds(61)
    given[widest]["x"][0] = (-8, 8, 0, 0)
    recipe = replace(default("onnx", "int8"), ranges="minmax", activations="symmetric", reduce_range="off")
    made = onnxruntime.quantize(linear(), ["product"], given, recipe)
    assert scales(made) == [pytest.approx(8 / 127, rel=1e-6)]


def test_a_chunk_does_not_change_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(default("onnx", "int8"), ranges="minmax", reduce_range="off")
    whole = onnxruntime.quantize(linear(), ["product"], feeds(61), recipe)
    monkeypatch.setattr(onnxruntime, "CHUNK_IMAGES", {})
    assert onnxruntime.quantize(linear(), ["product"], feeds(61), recipe) == whole


def convolutions(readers: int) -> onnx.ModelProto:
    """A 1x1 convolution of x [N, 4, 2, 2] whose result is read by so many, and one that nobody else reads."""
    drawn = np.random.default_rng(2)
    weights = [drawn.standard_normal((WIDTH, WIDTH, 1, 1)).astype(np.float32) for _ in range(2)]
    nodes = [helper.make_node("Conv", ["x", "w0"], ["first"], "first")]
    nodes += [helper.make_node("Neg", ["first"], [f"read{index}"], f"neg{index}") for index in range(readers)]
    nodes += [helper.make_node("Sum", [f"read{index}" for index in range(readers)], ["sum"], "sum")]
    nodes += [helper.make_node("Conv", ["sum", "w1"], ["y"], "last")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH, 2, 2]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "fan", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("readers", "fan_out", "integer"), [(1, "weights", 2), (2, "weights", 1), (2, "integer", 2)])
def test_a_convolution_that_several_read_stores_weights_alone(readers: int, fan_out: str, integer: int) -> None:
    """Each reader would get a DequantizeLinear and a change of layout of its own."""
    from slide_export.graph.dtypes import count
    from slide_export.graph.stored import tensors

    drawn, proto = (
        np.random.default_rng(0).standard_normal((2, 1, WIDTH, 2, 2)).astype(np.float32),
        convolutions(readers),
    )
    weights = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    recipe = replace(default("onnx", "int8"), fan_out=fan_out)
    found = onnxruntime.quantize(proto, ["first", "last"], [{"x": one} for one in drawn], recipe)
    assert count(found).marked == integer
    stored = {one.name: one for one in tensors(found) if one.stored == "int8" and one.name.startswith("w")}
    for name, weight in weights.items():
        kept = stored[f"{name}_quantized"]
        assert (np.abs(kept.values - weight) <= kept.above).all()
        assert kept.above.max() < np.abs(weight).max() / 100


def test_activations_as_they_come_need_no_images_and_every_batch_has_its_own_range() -> None:
    import onnxruntime as runtime

    proto = linear()
    (weight,) = (numpy_helper.to_array(one) for one in proto.graph.initializer)
    found = onnxruntime.quantize(proto, ["product"], None, default("onnx", "int8-dynamic").resolved())
    assert "MatMulInteger" in {node.op_type for node in found.graph.node}
    session = runtime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    for scale in (1.0, 1000.0):
        x = (scale * np.random.default_rng(3).standard_normal((5, WIDTH))).astype(np.float32)
        (y,) = session.run(None, {"x": x})
        step = (x.max() - x.min()) / 255  # of the input; the weights' is max |w| / 63 a column, or half of that
        bound = 1.01 * (step * np.abs(weight).sum(0) + np.abs(x).sum(1, keepdims=True) * np.abs(weight).max(0) / 63)
        assert (np.abs(y - x @ weight) <= bound).all()


def test_what_dynamic_weights_stand_for_is_read_back() -> None:
    from slide_export.graph.dtypes import count
    from slide_export.graph.stored import tensors

    proto = linear()
    (weight,) = (numpy_helper.to_array(one) for one in proto.graph.initializer)
    found = onnxruntime.quantize(proto, ["product"], None, default("onnx", "int8-dynamic"))
    (stored,) = (one for one in tensors(found) if one.stored == "int8")
    assert (np.abs(stored.values - weight) <= stored.above).all()
    assert stored.above.max() < np.abs(weight).max() / 100
    stats = count(found)
    assert (stats.computed, stats.marked) == ({"int8": 1}, 1)


def test_one_weight_of_two_convolutions_is_stored_once() -> None:
    proto = convolutions(2)
    proto.graph.node[-1].input[1] = "w0"
    del proto.graph.initializer[1]
    onnxruntime._store_in_8_bits(proto, ["first", "last"])
    onnx.checker.check_model(proto, full_check=True)
    assert [one.name for one in proto.graph.initializer] == ["w0_quantized", "w0_scale"]
    assert {node.input[1] for node in proto.graph.node if node.op_type == "Conv"} == {"w0_8_bits"}
