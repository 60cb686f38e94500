"""What a program stores and multiplies: convolutions in float16 take their filters in float32, counted apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends.executorch import dtypes
from slide_export.backends.executorch.dtypes import NORMS, TAKEN_IN_FLOAT32, dtype_stats
from slide_export.backends.executorch.program import Constant, Part, SavedProgram
from slide_export.core.artifact import DtypeStats

FILTER = Constant("filter", "float32", np.zeros(4, np.float32))
BIAS = Constant("bias", "float32", np.zeros(1, np.float32))


def counted(
    monkeypatch: pytest.MonkeyPatch, kind: str, node: str, weights: Constant = FILTER, **more: Any
) -> DtypeStats:
    fields = {"input1_id": 0, "filter_id": 1, "bias_id": 2, **more}
    part = Part(((node, fields),), {0: kind}, {1: weights, 2: BIAS})
    monkeypatch.setattr(dtypes, "read_program", lambda _path: SavedProgram((part,), {}, ()))
    return dtype_stats(Path("model.pte"), {})


@pytest.mark.parametrize(
    ("kind", "node", "stored"),
    [
        ("float16", "XNNConv2d", {TAKEN_IN_FLOAT32: 20}),
        ("float16", "XNNDepthwiseConv2d", {TAKEN_IN_FLOAT32: 20}),
        ("float16", "XNNFullyConnected", {"float32": 20}),
        ("float32", "XNNConv2d", {"float32": 20}),
        ("float16", "XNNSoftmax", {"float32": 20}),
    ],
)
def test_filters_of_float16_convolutions_are_counted_apart(
    kind: str, node: str, stored: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = counted(monkeypatch, kind, node)
    assert found.stored == stored
    assert found.computed == ({} if node == "XNNSoftmax" else {kind: 1})


@pytest.mark.parametrize(("kind", "stored"), [("float16", {"float32": 12, NORMS: 8}), ("float32", {"float32": 20})])
def test_norms_of_a_float16_program_are_counted_apart(
    kind: str, stored: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    norm, other = (Constant(name, "float32", np.zeros(size, np.float32)) for name, size in (("norm", 2), ("other", 3)))
    part = Part((("XNNFullyConnected", {"input1_id": 0, "filter_id": 1}),), {0: kind}, {})
    program = SavedProgram((part,), {}, (norm, other), frozenset({"norm"}))
    monkeypatch.setattr(dtypes, "read_program", lambda _path: program)
    assert dtype_stats(Path("model.pte"), {}).stored == stored


def test_a_filter_in_8_bits_is_marked_and_a_missing_bias_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    eight = Constant("filter", "int8", np.zeros(4, np.int8), np.ones(()))
    assert counted(monkeypatch, "int8", "XNNFullyConnected", eight, bias_id=9).marked == 1
    assert counted(monkeypatch, "float32", "XNNFullyConnected").marked == 0
    assert counted(monkeypatch, "float32", "XNNBatchMatrixMultiply", eight).marked == 0  # no layer
