"""What ncnn computes in by its options, and which layers are products of which kind."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.backends.ncnn.dtypes import computed_in, dtype_stats, product_of
from slide_export.backends.ncnn.network import Layer
from slide_export.backends.ncnn.runtime import EXACT
from slide_export.backends.ncnn.weights import halved
from slide_export.core.artifact import FLOAT32_VECTORS

from .networks import network
from .test_weights import DATA, LAYERS


def test_biases_and_norms_beside_halves_are_counted_apart(tmp_path: Path) -> None:
    settings = {"options": dict(EXACT)}
    assert dtype_stats(network(tmp_path, LAYERS, DATA), settings).stored == {"float32": 4 * (6 + 2 + 3 + 3 + 2)}
    layers, data = halved(LAYERS, DATA)
    vectors = 4 * (2 + 3 + 3)
    stored = dtype_stats(network(tmp_path, layers, data), settings).stored
    assert stored == {"float16": 2 * (6 + 2), FLOAT32_VECTORS: vectors}
    mixed, rest = (*layers[:-1], LAYERS[-1]), data[:-8] + DATA[-8:]  # a constant that is left in float32 is no vector
    stored = dtype_stats(network(tmp_path, mixed, rest), settings).stored
    assert stored == {"float16": 2 * 6, "float32": 4 * 2, FLOAT32_VECTORS: vectors}


def test_with_every_option_off_it_is_float32() -> None:
    assert computed_in({"options": dict(EXACT)}) == "float32"


@pytest.mark.parametrize("name", EXACT)
def test_one_option_that_is_on_rounds(name: str) -> None:
    kind = "float16" if "fp16" in name else "bfloat16"
    assert computed_in({"options": {**EXACT, name: True}}) == kind


@pytest.mark.parametrize("name", EXACT)
def test_an_option_that_is_not_set_is_on_but_those_of_bfloat16(name: str) -> None:
    """Tencent/ncnn 20261020, src/option.cpp: use_fp16_* are true, use_bf16_* false."""
    left = {key: value for key, value in EXACT.items() if key != name}
    assert computed_in({"options": left}) == ("float16" if "fp16" in name else "float32")


@pytest.mark.parametrize(
    ("kind", "parameters", "product"),
    [
        ("MatMul", {}, "activations"),
        ("SDPA", {}, "activations"),
        ("Gemm", {}, "dense"),
        ("InnerProduct", {}, "dense"),
        ("Convolution", {1: "4", 3: "4"}, "dense"),
        ("Convolution", {1: "1"}, "dense"),
        ("Convolution", {1: "3"}, "spatial"),
        ("Convolution", {1: "4", 3: "2"}, "spatial"),
        ("ConvolutionDepthWise", {1: "3", 3: "3"}, "spatial"),
        ("Deconvolution", {}, "spatial"),
        ("Softmax", {}, None),
    ],
)
def test_kinds_of_products(kind: str, parameters: dict[int, str], product: Any) -> None:
    assert product_of(Layer(kind, "a", (), (), parameters)) == product
