"""Matrices, kernels and tables are halved, vectors and scalars stay, and what computes them is unchanged."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.backends.litert import flatbuffer
from slide_export.backends.litert.halves import halved

from .files import File, layer


@pytest.mark.parametrize(
    ("shape", "large"),
    [((2, 3), True), ((1, 3), True), ((3,), False), ((), False), ((1, 1), False), ((1, 1, 2), True)],
)
def test_what_has_two_axes_is_halved(shape: tuple[int, ...], large: bool) -> None:
    file = File()
    table = file.tensor("table/0", shape, "float32", np.full(shape, 1 / 3))
    graph = flatbuffer.parse(halved(file.written([], [table])))
    source = graph.expanded_from(table)
    assert (source is not None) is large
    if source is not None:
        assert (source.type, source.name) == ("float16", "table/0_half")
        assert source.values.tolist() == np.full(shape, np.float16(1 / 3)).tolist()
        assert graph.tensors[table].data is None


def test_what_is_computed_or_no_float32_stays() -> None:
    file = File()
    x = file.tensor("x/0", (2, 3))
    file.tensor("shape/1", (1, 2), "int32", [[1, 2]])
    graph = flatbuffer.parse(halved(file.written([x], [x])))
    assert graph.operations == ()


def test_a_layer_computes_with_what_was_rounded(tmp_path: Path) -> None:
    content = halved(layer(tmp_path).read_bytes())
    graph = flatbuffer.parse(content)
    assert [one.name for one in graph.operations] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    again = flatbuffer.parse(halved(content))
    assert [one.name for one in again.operations] == ["DEQUANTIZE", "FULLY_CONNECTED"]  # nothing is left to halve
    file = File()
    first = file.tensor("a/0", (2, 2), "float32", np.ones((2, 2)))
    second = file.tensor("b/1", (2, 2), "float32", np.zeros((2, 2)))
    both = file.operator("ADD", [first, second], file.tensor("c/2", (2, 2)))
    assert [one.name for one in flatbuffer.parse(halved(file.written([], [both]))).operations] == [
        "DEQUANTIZE",
        "DEQUANTIZE",
        "ADD",
    ]
