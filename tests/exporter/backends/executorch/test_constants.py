"""Tensors of a program: floats, halves that a kernel takes in float32, integers with a scale and without."""

from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.executorch import constants
from slide_export.backends.executorch.constants import _are_halves, stored
from slide_export.backends.executorch.program import Constant, SavedProgram
from slide_export.core.stored import StoredConstant


def expanded(monkeypatch: pytest.MonkeyPatch, *found: Constant) -> list[StoredConstant]:
    monkeypatch.setattr(constants, "read_program", lambda _path: SavedProgram((), {}, found))
    return list(stored(Path("model.pte"), {}))


THIRD = np.array([1 / 3], np.float32)
HALF = np.array([0.5], np.float32)


def test_halves_in_float32_are_float16_in_a_program_of_float16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, exact = Constant("a", "float32", HALF), Constant("b", "float32", THIRD)
    half = Constant("c", "float16", THIRD.astype(np.float16))
    assert [one.stored for one in expanded(monkeypatch, kept, exact)] == ["float32", "float32"]
    assert [one.stored for one in expanded(monkeypatch, kept, exact, half)] == ["float16", "float32", "float16"]


def test_integers_are_times_their_scale_or_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.array([[1, 2]], np.int8)
    scaled = Constant("a", "int8", data, np.array([[0.5, 2.0]]), zero=1)
    found = expanded(monkeypatch, scaled, Constant("b", "int64", data.astype(np.int64)))
    assert [one.values.tolist() for one in found] == [[[0.0, 2.0]], [[1, 2]]]
    assert float(np.max(found[1].below)) == 0  # exact


@pytest.mark.parametrize(
    ("value", "half"), [(0.5, True), (65504.0, True), (65505.0, False), (1e6, False), (2**-24, True), (2**-25, False)]
)
def test_what_float16_holds_is_a_half(value: float, half: bool) -> None:
    assert _are_halves(np.array([0.0, value], np.float32)) is half
