"""Constants of a file as LiteRT expands them, with the module that takes them."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.backends.litert.constants import stored
from slide_export.core.stored import StoredConstant

from .files import File, layer

WEIGHT = np.array([[1, 2, 3], [4, 5, 6]])


def found(path: Path) -> dict[str, StoredConstant]:
    return {each.name: each for each in stored(path, {})}


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_floats_are_given_as_they_are(kind: str, tmp_path: Path) -> None:
    (constant,) = found(layer(tmp_path, kind, expanded=kind == "float16")).values()
    assert (constant.stored, constant.module, constant.values.tolist()) == (kind, "head", WEIGHT.tolist())


def test_a_scale_goes_along_its_axis(tmp_path: Path) -> None:
    (constant,) = found(layer(tmp_path, "int8")).values()
    assert constant.values.tolist() == (WEIGHT * [[0.5], [2.0]]).tolist()


@pytest.mark.parametrize(
    ("scale", "axis", "factors"),
    [([0.5], 0, [[0.5] * 3] * 2), ([0.5, 1.0, 2.0], 1, [[0.5, 1.0, 2.0]] * 2)],
)
def test_one_scale_is_of_the_whole_tensor(
    scale: list[float], axis: int, factors: list[list[float]], tmp_path: Path
) -> None:
    file = File()
    weight = file.tensor("head/1", (2, 3), "int8", WEIGHT, scale, axis)
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([], [weight]))
    assert found(path)["head/1"].values.tolist() == (WEIGHT * np.array(factors)).tolist()


def test_whole_numbers_without_a_scale_are_no_weights(tmp_path: Path) -> None:
    file = File()
    file.tensor("shape/0", (2,), "int32", [1, 2])
    bias = file.tensor("head/1", (2,), "int32", [3, 4], [0.5])
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([], [bias]))
    assert {name: each.values.tolist() for name, each in found(path).items()} == {"head/1": [1.5, 2.0]}


def test_a_constant_is_of_the_module_that_takes_it_first(tmp_path: Path) -> None:
    file = File()
    x, table = file.tensor("x/0", (3,)), file.tensor("constant/1", (3,), "float32", [1, 2, 3])
    first = file.operator("ADD", [x, table], file.tensor("layers.0.attn/2", (3,)))
    second = file.operator("ADD", [first, table], file.tensor("layers.1.attn/3", (3,)))
    file.tensor("head/4", (1,), "float32", [1])  # nobody takes it
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([x], [second]))
    assert {name: each.module for name, each in found(path).items()} == {
        "constant/1": "layers.0.attn",
        "head/4": "head",
    }
