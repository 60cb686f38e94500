"""Tensors of a file that make one here are read to their places, and are those that torch.cat makes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export.checkpoint.tensor_files import in_memory, read_safetensors, reading
from slide_export.models.formats.key_map import Origin, joined

PARTS = {
    "q": torch.randn(4, 3),
    "k": torch.randn(2, 3),
    "v": torch.randn(5, 3),
    "half": torch.randn(4, 3).half(),
    "wide": torch.randn(4, 7),
    "bias": torch.randn(4),
    "one": torch.tensor(1.0),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(PARTS, tmp_path / "parts.safetensors")
    return tmp_path / "parts.safetensors"


@pytest.mark.parametrize("keys", [("q", "k", "v"), ("v", "q"), ("q",), ("bias", "bias"), ("q", "half")])
def test_joined_tensors_are_those_of_cat(file: Path, keys: tuple[str, ...]) -> None:
    tensors, _ = read_safetensors(file)
    expected = torch.cat([PARTS[key] for key in keys])
    for found in (reading(tensors).joined(keys), Origin(keys, joined)(reading(tensors))):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


@pytest.mark.parametrize("keys", [("q", "wide"), ("one", "one")])
def test_what_cat_refuses_is_refused(file: Path, keys: tuple[str, ...]) -> None:
    tensors, _ = read_safetensors(file)
    with pytest.raises(RuntimeError):
        reading(tensors).joined(keys)


def test_no_second_copy_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, _ = read_safetensors(file)
    monkeypatch.setattr(torch, "cat", None)
    assert reading(tensors).joined(("q", "k")).shape == (6, 3)


def test_tensors_in_memory_are_joined_too() -> None:
    tensors = {key: in_memory(value) for key, value in PARTS.items()}
    found: Tensor = reading(tensors).joined(("q", "k"))
    assert torch.equal(found, torch.cat([PARTS["q"], PARTS["k"]]))
