"""What is held against the float32 build, and what is said where nothing can be."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.backends import registry
from slide_export.calibration.recipe import QuantizationRecipe, default
from slide_export.core.artifact import Artifact
from slide_export.core.precision import FP32, precision_named
from slide_export.workflows import float_build
from slide_export.workflows.float_build import _compare, prove

RECIPE = default("openvino", "int8")
ARTIFACT = Artifact("openvino", FP32, Path("model.xml"), (), (), {})


@pytest.mark.parametrize("precision", ["fp32"])
def test_a_float32_artifact_is_the_build_itself(precision: str) -> None:
    plan: Any = SimpleNamespace(target="openvino")
    made = replace(ARTIFACT, precision=precision_named(precision))
    assert prove(plan, SimpleNamespace(), SimpleNamespace(), made) is None  # type: ignore[arg-type]


def compared(monkeypatch: pytest.MonkeyPatch, recipe: QuantizationRecipe | None, *stored: object) -> str:
    """Why nothing was compared, "" where it was; a backend gives what it has read of each."""
    told = iter(stored)
    monkeypatch.setattr(float_build.optional, "stored", lambda *_: next(told))
    pair = (registry.load("openvino"), ARTIFACT)
    return _compare(recipe, pair, pair).skipped


@pytest.mark.parametrize("changes", [{"bias_correction": True}, {"smooth_quant": 0.5}, {"smooth_quant": 0.0}])
def test_weights_that_a_recipe_rewrites_are_not_compared(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "scales moved into weights" in compared(monkeypatch, replace(RECIPE, **changes))


@pytest.mark.parametrize("recipe", [None, RECIPE])
def test_any_others_are_where_both_can_be_read(
    recipe: QuantizationRecipe | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compared(monkeypatch, recipe, [], []) == ""
    for stored in ((None, []), ([], None), (None, None)):
        assert "does not read back" in compared(monkeypatch, recipe, *stored)
