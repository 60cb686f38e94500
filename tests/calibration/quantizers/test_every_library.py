"""Every library that quantizes graphs, held to the same contract on a small exported model."""

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.numpy_helper import to_array

from slide_export.backends.registry import load
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import bundled
from slide_export.calibration.layer_selection import layers, selected
from slide_export.calibration.quantizers import quantize
from slide_export.calibration.recipe import QuantizationRecipe, default
from slide_export.core.artifact import Array, Feeds, ModelIO
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form, serve

LEAST_DB = 25  # random weights; a trained model has 40
KEPT = ("layers.0", "head")  # four linear layers and a reduction, and the head: six
RECIPES = {
    "onnxruntime": replace(default("onnx", "int8"), keep_fp32=KEPT, reduce_range="off"),
    "nncf": replace(default("openvino", "int8"), keep_fp32=KEPT, reduce_range="off"),
}


@pytest.fixture(scope="module")
def graph(model: Model) -> OnnxGraph:
    return onnx_graph.export(in_form(choose(fuse(model), "grouped"), ModelIO()))


@pytest.fixture(scope="module")
def images(model: Model) -> FedImages:
    return FedImages(cached(bundled(), PictureStore(model.data, model.image_size)), serve(model, ModelIO()).feeds)


def made(graph: OnnxGraph, images: FedImages | None, recipe: QuantizationRecipe) -> OnnxGraph:
    before = graph.proto.SerializeToString(deterministic=True)
    quantized_graph = quantize(graph, images, recipe)
    assert graph.proto.SerializeToString(deterministic=True) == before
    return quantized_graph


def run(graph: OnnxGraph, images: FedImages, place: Path) -> Array:
    """The logits of all images, Q/DQ computed as written."""
    onnx.save(graph.proto, place / "model.onnx")
    session = load("onnx").Session(place / "model.onnx", {"literal": True})
    return np.concatenate([session.run(feeds)["logits"] for feeds in images])


def sqnr_db(expected: Array, found: Array) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def quantized(proto: onnx.ModelProto) -> set[str]:
    """The names of the nodes whose weights come from a DequantizeLinear."""
    dequantized = {node.output[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    return {node.name for node in proto.graph.node if len(node.input) > 1 and node.input[1] in dequantized}


@pytest.fixture(scope="module", params=RECIPES)
def result(request: pytest.FixtureRequest, graph: OnnxGraph, images: FedImages) -> tuple[QuantizationRecipe, OnnxGraph]:
    """A recipe of each library and what it makes of the graph, without a word on standard output."""
    recipe, said = RECIPES[request.param], io.StringIO()
    with contextlib.redirect_stdout(said):
        quantized_graph = made(graph, images, recipe)
    assert said.getvalue() == ""
    return recipe, quantized_graph


BenchmarkResult = tuple[QuantizationRecipe, OnnxGraph]


def test_exactly_the_recipes_layers_are_quantized(result: BenchmarkResult, graph: OnnxGraph) -> None:
    assert quantized(result[1].proto) == set(selected(layers(graph.proto), result[0]))
    assert len(quantized(result[1].proto)) == 29 - 6


def test_the_model_is_still_itself(
    result: BenchmarkResult, graph: OnnxGraph, images: FedImages, tmp_path: Path
) -> None:
    assert sqnr_db(run(graph, images, tmp_path), run(result[1], images, tmp_path)) > LEAST_DB


def test_softmax_and_products_see_no_rounded_value(result: BenchmarkResult) -> None:
    proto = result[1].proto
    rounded = {node.output[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    weighted = quantized(proto)
    float_nodes = [
        node
        for node in proto.graph.node
        if node.op_type in ("Softmax", "LayerNormalization", "ReduceSum")
        or (node.op_type == "MatMul" and node.name not in weighted)
    ]
    assert len(float_nodes) > 20
    assert not [node.name for node in float_nodes if rounded.intersection(node.input)]


def test_a_scale_for_each_output_channel(result: BenchmarkResult) -> None:
    proto = result[1].proto
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    weights = {
        node.input[0]: list(tensors[node.input[1]].dims)
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors and len(tensors[node.input[0]].dims) > 1
    }
    assert len(weights) == len(quantized(proto))
    assert all(len(scale) == 1 and scale[0] in tensors[name].dims for name, scale in weights.items())


@pytest.mark.parametrize("ranges", ["entropy", "percentile"])
def test_other_ranges_are_narrower(result: BenchmarkResult, ranges: str, graph: OnnxGraph, images: FedImages) -> None:
    recipe, usual = result
    if (recipe.library, ranges) == ("nncf", "entropy"):
        return  # refused by `recipe.parse`
    other = made(graph, images, replace(recipe, ranges=ranges, percentile=99.0))
    assert sum(scales(other.proto)) < 0.95 * sum(scales(usual.proto))


def scales(proto: onnx.ModelProto) -> list[float]:
    """The scales of activations, ascending."""
    names = {node.input[1] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    return sorted(float(to_array(tensor)) for tensor in proto.graph.initializer if tensor.name in names)


def test_ranges_are_of_all_images_and_the_bytes_the_same(graph: OnnxGraph, images: FedImages) -> None:
    recipe = RECIPES["onnxruntime"]
    first = replace(images, images=replace(images.images, names=images.images.names[:1], files=images.images.files[:1]))
    every, again, one = (made(graph, fed, recipe).proto for fed in (images, replace(images), first))
    assert every.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert sum(scales(every)) > sum(scales(one))


def test_ranges_are_observed_once_whatever_is_kept(graph: OnnxGraph, images: FedImages) -> None:
    recipe = RECIPES["onnxruntime"]
    fed: list[int] = []
    kept = replace(recipe, keep_fp32=("layers.0", "layers.1"))

    def feed(pictures: Sequence[NDArray[np.uint8]]) -> Feeds:
        fed.append(len(pictures))
        return images.feed(pictures)

    watched = replace(images, feed=feed)
    made(graph, watched, recipe)
    observed = len(fed)
    found = made(graph, watched, kept).proto
    assert len(fed) == observed == len(images)
    fresh = made(graph, replace(images), kept).proto
    assert found.SerializeToString(deterministic=True) == fresh.SerializeToString(deterministic=True)


def test_weights_alone_need_no_images(graph: OnnxGraph, images: FedImages, tmp_path: Path) -> None:
    recipe = default("openvino", "w8").resolved()
    result = made(graph, None, recipe)
    assert quantized(result.proto) == set(selected(layers(graph.proto), recipe))
    assert not any(node.op_type == "QuantizeLinear" for node in result.proto.graph.node)
    assert sqnr_db(run(graph, images, tmp_path), run(result, images, tmp_path)) > LEAST_DB


def test_nncf_leaves_the_handlers_of_others_alone(graph: OnnxGraph, images: FedImages) -> None:
    own = logging.NullHandler(logging.DEBUG)
    logging.getLogger("nncf").addHandler(own)
    try:
        made(graph, images, RECIPES["nncf"])
        assert own.level == logging.DEBUG
    finally:
        logging.getLogger("nncf").removeHandler(own)
