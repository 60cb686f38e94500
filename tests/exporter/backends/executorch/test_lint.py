"""Operators outside of XNNPACK are a hint, and a warning where there are more than a Slide-Swin-T needs."""

from pathlib import Path

import pytest

from slide_export.backends.executorch import lint
from slide_export.backends.executorch.lint import MOST_OUTSIDE, is_artifact, lint_artifact
from slide_export.backends.executorch.program import SavedProgram


@pytest.mark.parametrize(
    ("outside", "severity"),
    [
        ({}, None),
        ({"mean": 1}, "hint"),
        ({"native_layer_norm": MOST_OUTSIDE - 1, "mean": 1}, "hint"),
        ({"native_layer_norm": MOST_OUTSIDE, "mean": 1}, "warning"),
    ],
)
def test_operators_between_the_parts(
    outside: dict[str, int], severity: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "read_program", lambda _path: SavedProgram((), outside, ()))
    found = lint_artifact(Path("model.pte"))
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    if found:
        assert found[0].found.startswith(f"{sum(outside.values())} operators between 0 parts that XNNPACK runs: 1 mean")


def test_a_program_is_told_by_its_ending() -> None:
    assert is_artifact(Path("model.pte"))
    assert not is_artifact(Path("model.ptl"))
