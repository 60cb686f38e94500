"""Constants of a package as CoreML expands them: floats, data with a scale along an axis or by blocks, tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slide_export.backends.coreml import constants
from slide_export.backends.coreml.constants import _along, stored
from slide_export.core.stored import StoredConstant
from slide_export.mil import Operation, Package
from slide_export.mil.program import Literal, MilType, Output, Program


def literal(values: Any, element: str) -> Literal:
    tensor = torch.as_tensor(values)
    return Literal(MilType(element, tuple(tensor.shape)), tensor)


def expanded(
    monkeypatch: pytest.MonkeyPatch, kind: str, element: str = "fp16", **given: Literal
) -> list[StoredConstant]:
    """What a program of one constant stores, whose operands are attributes as before iOS18."""
    made = Operation(kind, "w", {}, given, (Output("w", MilType(element, (2, 2))),))
    package = Package(Path("model.mlpackage"), (), (), Program("CoreML7", {}, (made,), ()), {})
    monkeypatch.setattr(constants, "read_package", lambda _path: package)
    return list(stored(Path("model.mlpackage"), {}))


@pytest.mark.parametrize(("element", "kind"), [("fp16", "float16"), ("fp32", "float32")])
def test_a_float_is_as_it_is(element: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = expanded(monkeypatch, "const", element, val=literal([[1.0, 2.0]], element))
    assert (found.name, found.stored, found.values.tolist()) == ("w", kind, [[1, 2]])


@pytest.mark.parametrize("element", ["int32", "bool", "string"])
def test_whole_numbers_and_words_are_no_weights(element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expanded(monkeypatch, "const", element, val=literal([1], "int32")) == []
    assert expanded(monkeypatch, "conv", val=literal([1.0], "fp16")) == []


DATA = torch.tensor([[1, -2], [3, 4]], dtype=torch.int8)


@pytest.mark.parametrize(
    ("axis", "factors"), [(0, [[0.5, 0.5], [2, 2]]), (1, [[0.5, 2], [0.5, 2]]), (-1, [[0.5, 2], [0.5, 2]])]
)
def test_a_scale_goes_along_its_axis(axis: int, factors: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = expanded(
        monkeypatch,
        "constexpr_affine_dequantize",
        quantized_data=literal(DATA, "int8"),
        scale=literal([0.5, 2.0], "fp16"),
        zero_point=literal(torch.tensor([1, 0], dtype=torch.int8), "int8"),
        axis=literal(axis, "int32"),
    )
    zeros = np.array([[1, 1], [0, 0]] if axis == 0 else [[1, 0], [1, 0]])
    assert found.stored == "int8"
    assert found.values.tolist() == ((DATA.numpy() - zeros) * np.array(factors)).tolist()


def test_a_scale_of_blocks_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = expanded(
        monkeypatch,
        "constexpr_blockwise_shift_scale",
        data=literal(DATA, "int8"),
        scale=literal([[0.5], [2.0]], "fp16"),
        offset=literal(torch.tensor([[1], [0]], dtype=torch.int8), "int8"),
    )
    assert found.values.tolist() == [[0.0, -1.5], [6.0, 8.0]]


@pytest.mark.parametrize(
    ("values", "axis", "shape"),
    [(np.ones(3), 1, (1, 3, 1)), (np.ones(3), -2, (1, 3, 1)), (np.ones((2, 1, 2)), None, (4, 3, 4))],
)
def test_scales_broadcast_to_their_data(values: Any, axis: int | None, shape: tuple[int, ...]) -> None:
    assert _along(values, np.zeros((4, 3, 4)), axis).shape == shape
