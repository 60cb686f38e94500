"""A kilobyte never makes a model of gigabytes: bounds come from the file's own tensors."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export.checkpoint.bounds import bounded, refuse_beyond, refuse_expanded
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.models.family import ShapeError
from slide_export.models.swin import SwinConfig, SwinTransformer
from tests.conftest import randomise

SMALL = SwinConfig(16, (1, 1), (1, 2), (4, 4), (32, 32), 10)
TREE: dict[str, Any] = {
    "MODEL": {
        "TYPE": "swin",
        "NUM_CLASSES": 10,
        "SWIN": {"EMBED_DIM": 16, "DEPTHS": [1, 1], "NUM_HEADS": [1, 2], "WINDOW_SIZE": 4},
    },
    "DATA": {"IMG_SIZE": 32},
}
SECONDS = 5.0  # what a refusal may take; building such a model takes minutes


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(randomise(SwinTransformer(SMALL)).state_dict())


FIELDS: dict[str, tuple[str, str, Any, str]] = {
    "blocks": ("SWIN", "DEPTHS", [10**9, 1], "whose depths the file's .* found 1000000000"),
    "some blocks": ("SWIN", "DEPTHS", [60, 1], "more or larger tensors than the file has"),
    "width": ("SWIN", "EMBED_DIM", 8000, "whose embed_dim .* found 8000"),
    "window": ("SWIN", "WINDOW_SIZE", 1000, "whose window .* found 1000"),
    "hidden width": ("SWIN", "MLP_RATIO", 1e6, "more or larger tensors|allocate"),
    "classes": ("", "NUM_CLASSES", 10**8, "whose num_classes"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_configuration_beyond_the_file_is_refused_at_once(
    name: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    place, field, value, sentence = FIELDS[name]
    tree = copy.deepcopy(TREE)
    (tree["MODEL"][place] if place else tree["MODEL"])[field] = value
    torch.save({"model": state, "config": tree}, tmp_path / "model.pth")
    began = time.process_time()
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(tmp_path / "model.pth")
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        (10**6, "expected an input of 1x1 to 67108864 pixels, found 1000000x1000000"),
        ([8192, 8192], "whose .* pairs of tokens are too many"),
    ],
)
def test_an_input_that_no_picture_has_is_refused(
    size: Any, sentence: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    deep = SwinConfig(16, (2, 1), (1, 2), (4, 4), (32, 32), 10)
    tree = {**TREE, "MODEL": {**TREE["MODEL"], "SWIN": {**TREE["MODEL"]["SWIN"], "DEPTHS": [2, 1], "WINDOW_SIZE": 6}}}
    torch.save(
        {"model": SwinTransformer(deep).state_dict(), "config": {**tree, "DATA": {"IMG_SIZE": size}}},
        tmp_path / "m.pth",
    )
    began = time.process_time()
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(tmp_path / "m.pth")
    assert time.process_time() - began < SECONDS


def test_a_block_numbered_a_million_is_refused_at_once(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({**state, "layers.0.blocks.1000000.norm1.weight": torch.zeros(16)}, tmp_path / "model.safetensors")
    began = time.process_time()
    with pytest.raises(CheckpointError, match="a block numbered 1000000, where the file has"):
        load_checkpoint(tmp_path / "model.safetensors")
    assert time.process_time() - began < SECONDS


def test_a_module_is_built_up_to_the_files_own_size() -> None:
    like = {"weight": torch.zeros(10, 10)}
    with bounded(like):
        assert torch.nn.Linear(10, 10).weight.is_meta
    with pytest.raises(ShapeError, match="more or larger tensors than the file has"), bounded(like):
        torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(1000)))
    with pytest.raises(ShapeError, match="more or larger tensors"), bounded(like):
        torch.nn.Linear(1 << 13, 1 << 13)
    with bounded(None):
        assert torch.nn.Linear(1 << 13, 1 << 13).weight.is_meta


def test_twice_the_files_tensors_and_some_are_built() -> None:
    like = {name: torch.zeros(1) for name in "abc"}
    with bounded(like):
        torch.nn.ParameterList([torch.zeros(1)] * (2 * 3 + 64))
    with pytest.raises(ShapeError, match=r"from a .* of \[1\] on"), bounded(like):
        torch.nn.ParameterList([torch.zeros(1)] * (2 * 3 + 65))


def test_four_times_the_files_numbers_and_some_are_built() -> None:
    like = {"a": torch.zeros(10, 10), "b": torch.zeros(3)}
    most = 4 * 103 + (1 << 24)
    with bounded(like):
        torch.nn.Linear(most, 1, bias=False, device="meta")
    with pytest.raises(ShapeError, match="more or larger tensors"), bounded(like):
        torch.nn.Linear(most + 1, 1, bias=False, device="meta")


@dataclass(frozen=True)
class Numbers:
    """A configuration with a number that tensors bound, and one that they do not."""

    classes: int = 1
    stages: tuple[tuple[int, ...], ...] = ((1,), (1, 1))
    image_size: tuple[int, int] = (32, 32)
    detections: int = 10**6
    exact: bool = True


FAMILY: Any = SimpleNamespace(name="toy", variants={"toy_tiny": Numbers(classes=1000)})


def refused(config: Any, like: dict[str, Tensor], variant: str | None = None) -> bool:
    try:
        refuse_beyond(config, like, FAMILY, variant)
    except CheckpointError as error:
        assert "expected" in str(error)
        return True
    return False


def test_a_number_is_one_that_a_tensor_has() -> None:
    """The largest side of any tensor, how many tensors there are, or a number of the variant."""
    wide = {"weight": torch.zeros(7, 40, 3), "count": torch.zeros(())}
    assert [refused(Numbers(number), wide) for number in (0, 40, 41, -1)] == [False, False, True, True]
    assert [refused(Numbers(1, ((1,), (number,))), wide) for number in (40, 41)] == [False, True]
    many = {str(number): torch.zeros(()) for number in range(50)}
    assert [refused(Numbers(number), many) for number in (50, 51)] == [False, True]
    assert [refused(Numbers(number), {}) for number in (1, 2)] == [False, True]
    assert [refused(Numbers(number), {"count": torch.zeros(())}) for number in (1, 2)] == [False, True]
    named = max(1000, Numbers.detections)
    assert [refused(Numbers(number), {}, "toy_tiny") for number in (named, named + 1)] == [False, True]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), False),
        ((0, 9), True),
        ((9, 0), True),
        ((8192, 8192), False),
        ((8192, 8193), True),
        ((1, 1 << 26), False),
    ],
)
def test_an_input_has_a_pixel_at_least_and_some_millions_at_most(size: tuple[int, int], expected: bool) -> None:
    assert refused(Numbers(image_size=size), {}) is expected


def test_tensors_may_be_four_times_their_files() -> None:
    most = 4 * (100 + 23 + (1 << 24))
    like = torch.zeros(1, dtype=torch.uint8).expand(most)
    refuse_expanded({"a": like}, [100, 23], "m.pth")
    with pytest.raises(CheckpointError, match=f"m.pth has {most + 1} bytes of them in 123: they are views"):
        refuse_expanded({"a": like, "b": like[:1]}, [100, 23], "m.pth")
