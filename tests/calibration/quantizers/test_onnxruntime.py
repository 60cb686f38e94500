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
