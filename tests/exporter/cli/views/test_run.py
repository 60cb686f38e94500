"""Answers as text and as JSON: one beside the other where both are at hand, large outputs by their range alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.cli.views.run import LISTED, as_plain, as_text
from slide_export.workflows.run import Answer, RunResult


def result(*answers: Answer) -> RunResult:
    return RunResult(Path("out/small"), "onnx", "fp16", "classify", "a runtime", answers)


def answer(*, beside: bool = False, values: int = 3) -> Answer:
    found = np.linspace(0.0, 1.0, values, dtype=np.float32)
    told = {"trained": {"logits": found + 0.25}, "trained_drawn": ("99% cat",)} if beside else {}
    return Answer(Path("a.jpg"), {"logits": found}, ("98% a longer word",), **told)  # type: ignore[arg-type]


def test_an_answer_alone() -> None:
    assert as_text(result(answer())).splitlines() == [
        "small: onnx fp16, classify (a runtime)", "", "a.jpg", "  98% a longer word"
    ]  # fmt: skip


def test_an_answer_beside_the_trained_models() -> None:
    lines = as_text(result(answer(beside=True))).splitlines()
    assert lines[-3:] == [
        "  artifact            PyTorch", "  98% a longer word   99% cat", "  largest difference 2.5e-01"
    ]  # fmt: skip


def test_names_that_files_made_up_are_escaped() -> None:
    strange = Answer(Path("a\x1b[2J.jpg"), {"logits": np.zeros(1)}, ("\x07 cat",))
    assert all(line.isprintable() for line in as_text(result(strange)).splitlines())


@pytest.mark.parametrize(("values", "listed"), [(LISTED, True), (LISTED + 1, False)])
def test_values_are_listed_up_to_a_number(values: int, listed: bool) -> None:
    told: Any = as_plain(result(answer(values=values)))
    (image,) = told["images"]
    output = image["outputs"]["logits"]
    assert (output["shape"], output["min"], output["max"]) == ([values], 0.0, 1.0)
    assert ("values" in output) == listed
    assert image["pytorch"] is None


def test_both_models_in_json() -> None:
    (image,) = as_plain(result(answer(beside=True)))["images"]
    assert image["pytorch"]["drawn"] == ["99% cat"]
    assert image["pytorch"]["outputs"]["logits"]["values"] == [0.25, 0.75, 1.25]
    assert image["largest_difference"] == 0.25
