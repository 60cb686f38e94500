"""Names of what a program executed, in words that a profile groups by, and what it shows."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.backends.executorch.inside import _executed, _plain, values
from slide_export.backends.profile import WARM
from slide_export.core.errors import RequestError


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Transpose (ND, X32)", "Transpose"),
        ("Static Reshape (F32)", "Reshape"),
        ("Static Constant Pad (ND, X32)", "Pad"),
        ("permute_copy.out", "permute"),
        ("native_layer_norm.out", "native_layer_norm"),
        ("Softmax (NC, F32)", "Softmax"),
    ],
)
def test_an_operator_is_a_word(name: str, word: str) -> None:
    assert _plain(name) == word


@pytest.mark.parametrize(
    ("name", "delegated", "product"),
    [
        ("Fully Connected (NC, F32) GEMM #12", True, "dense"),
        ("Convolution (NHWC, F32) GEMM #1", True, "dense"),
        ("Convolution (NHWC, F32) IGEMM #1", True, "spatial"),
        ("Convolution (NHWC, F32) DWConv #1", True, "spatial"),
        ("Deconvolution (NHWC, F32)", True, "spatial"),
        ("Batch Matrix Multiply (NC, F32)", True, "activations"),
        ("Softmax (NC, F32)", True, None),
        ("native_call_convolution.out", False, None),
    ],
)
def test_products_are_told_by_xnnpacks_names(name: str, delegated: bool, product: Any) -> None:
    raw = list(range(WARM + 3))
    event = SimpleNamespace(name=name, is_delegated_op=delegated, perf_data=SimpleNamespace(raw=raw))
    found = _executed(event)
    assert (found.product, found.ms) == (product, tuple(raw[WARM:]))
    assert "#" not in found.operator
    assert not found.operator.startswith("native_call_")


def test_values_are_those_that_the_bundle_noted() -> None:
    found = values(Path("model.pte"), {"shown": {"3.0": ["layers.0", "layers.0.mlp"]}})
    assert [(one.name, one.output_of) for one in found] == [("3.0", ("layers.0", "layers.0.mlp"))]
    for settings in ({}, {"shown": {}}):
        with pytest.raises(RequestError, match=r"diagnose is not available for model\.pte"):
            values(Path("model.pte"), settings)
