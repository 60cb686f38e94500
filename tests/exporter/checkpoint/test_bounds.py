"""A kilobyte never makes a model of gigabytes: bounds come from the file's own tensors."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export.checkpoint.bounds import bounded
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
