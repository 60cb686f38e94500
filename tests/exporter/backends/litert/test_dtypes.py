"""What a product computes in: by its operands, or by the first where its weights are expanded."""

from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.backends.litert.dtypes import dtype_stats
from slide_export.backends.litert.halves import halved
from slide_export.core.artifact import FLOAT32_VECTORS

from .files import File, layer


@pytest.mark.parametrize(
    ("kind", "first", "expanded", "computed", "marked"),
    [
        ("float32", "float32", False, "float32", 0),
        ("int8", "int8", False, "int8", 1),
        ("int8", "float32", False, "int8", 1),  # a range for each input as it comes
        ("int8", "float32", True, "float32", 1),
        ("float16", "float32", True, "float32", 0),
    ],
)
def test_types_of_a_product(kind: str, first: str, expanded: bool, computed: str, marked: int, tmp_path: Path) -> None:
    found = dtype_stats(layer(tmp_path, kind, first, expanded=expanded), {})
    assert (found.computed, found.marked) == ({computed: 1}, marked)
    assert found.stored == {kind: 6 * {"float32": 4, "float16": 2, "int8": 1}[kind]}


def test_vectors_beside_halves_are_counted_apart(tmp_path: Path) -> None:
    file = File()
    x, y = file.tensor("x/0", (1, 3)), file.tensor("head/4", (1, 2))
    weight = file.tensor("head/1", (2, 3), data=[[1, 2, 3], [4, 5, 6]])
    bias, table = file.tensor("head/2", (2,), data=[1, 2]), file.tensor("table/3", (1, 2), data=[[1, 2]])
    file.operator("ADD", [file.operator("FULLY_CONNECTED", [x, weight, bias], y), table], file.tensor("out/5", (1, 2)))
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([x], [5]))
    assert dtype_stats(path, {}).stored == {"float32": 4 * (6 + 2 + 2)}
    path.write_bytes(halved(path.read_bytes()))
    assert dtype_stats(path, {}).stored == {"float16": 2 * (6 + 2), FLOAT32_VECTORS: 4 * 2}


def test_shapes_and_axes_are_no_weights_and_a_computed_operand_has_no_mark(tmp_path: Path) -> None:
    file = File()
    q, k = file.tensor("q/0", (1, 2, 3), "int8"), file.tensor("k/1", (1, 3, 2), "int8")
    file.tensor("shape/2", (2,), "int32", [1, 2])
    y = file.operator("BATCH_MATMUL", [q, k], file.tensor("attn/3", (1, 2, 2), "int8"))
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([q, k], [y]))
    found = dtype_stats(path, {})
    assert (found.stored, found.computed, found.marked) == ({}, {"int8": 1}, 0)
