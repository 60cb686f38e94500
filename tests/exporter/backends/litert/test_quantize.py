"""Which layers the quantizer is told of: those of the recipe, with weights, and of a calibrated one not the last."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.backends.litert import flatbuffer
from slide_export.backends.litert.quantize import _entries, _last, quantized
from slide_export.calibration.recipe import default
from slide_export.core.errors import CalibrationError, LoweringError, RequestError

from .files import File

INT8, DYNAMIC, W8 = (default("litert", precision) for precision in ("int8", "int8-dynamic", "w8"))


def content() -> bytes:
    """x -> embed (convolution) -> fc1 -> q x k -> head, and a second output that a depthwise convolution gives."""
    file = File()
    x = file.tensor("x/0", (1, 4, 4, 3))
    embed = file.tensor("embed/1", (2, 1, 1, 3), "float32", [[[[1, 2, 3]]], [[[4, 5, 6]]]])
    y = file.operator("CONV_2D", [x, embed], file.tensor("embed/2", (1, 4, 4, 2)))
    weight = file.tensor("fc1/3", (2, 2), "float32", [[1, 2], [3, 4]])
    y = file.operator("FULLY_CONNECTED", [y, weight], file.tensor("fc1/4", (1, 4, 4, 2)))
    y = file.operator("BATCH_MATMUL", [y, y], file.tensor("attn/5", (1, 4, 4, 4)))
    head = file.tensor("head/6", (1, 4), "float32", [[1, 2, 3, 4]])
    last = file.operator("FULLY_CONNECTED", [y, head], file.tensor("head/7", (1, 4, 4, 1)))
    kernel = file.tensor("side/8", (1, 1, 1, 3), "float32", [[[[1, 2, 3]]]])
    side = file.operator("DEPTHWISE_CONV_2D", [x, kernel], file.tensor("side/9", (1, 4, 4, 3)))
    side = file.operator("RELU", [side], file.tensor("side/10", (1, 4, 4, 3)))
    return file.written([x], [last, side])


def told(recipe: Any) -> dict[str, str]:
    return {one["regex"]: one["method"] for one in _entries(flatbuffer.parse(content()), recipe)}


EVERY = ("linear", "convolution", "depthwise")


def test_products_that_nothing_is_computed_from_are_the_last() -> None:
    graph = flatbuffer.parse(content())
    assert {graph.tensors[index].name for index in _last(graph)} == {"head/7", "side/9"}


@pytest.mark.parametrize(("recipe", "method"), [(INT8, "static"), (DYNAMIC, "dynamic"), (W8, "weights")])
def test_a_calibrated_recipe_leaves_the_last_layers(recipe: Any, method: str) -> None:
    found = told(replace(recipe, quantize=EVERY, keep_fp32=()))
    layers = {"^embed/2;", "^fc1/4;"} | (set() if method == "static" else {"^head/7;", "^side/9;"})
    assert found == dict.fromkeys(layers, method)


def test_layers_are_those_of_the_recipes_kinds_and_modules() -> None:
    assert set(told(replace(W8, quantize=("linear",), keep_fp32=("fc1",)))) == {"^head/7;"}
    assert set(told(replace(W8, quantize=("depthwise",), keep_fp32=()))) == {"^side/9;"}


def test_what_no_quantizer_takes_is_refused_before_it_is_started() -> None:
    with pytest.raises(RequestError, match="found symmetric: its 8-bit kernels are asymmetric"):
        quantized(content(), replace(INT8, activations="symmetric"), None)
    with pytest.raises(CalibrationError, match="expected images to observe ranges on"):
        quantized(content(), INT8, None)
    with pytest.raises(LoweringError, match="found one that quantizes none"):
        quantized(content(), replace(W8, quantize=EVERY, keep_fp32=("*",)), None)
