"""Entries that may tell of the model and that nobody reads."""

from pathlib import Path

import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.checkpoint.unread import unread

WEIGHTS = {"a.weight": torch.zeros(1)}


def test_what_may_tell_of_the_model_is_named_and_the_training_is_not() -> None:
    content = {
        "model": WEIGHTS,
        "config": {},
        "data_config": {},
        "mean": [0.5],
        "args": None,
        "epoch": 3,
        "best_loss": 0.5,
        "lr_scheduler": {},
        "optimizer_args": {},
    }
    assert unread(content) == ("not read, of names that are not known here: data_config, mean, args",)


def test_it_is_said_when_the_checkpoint_is_loaded(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)["model"]
    torch.save({"model": state, "data_config": {"mean": [0.5, 0.5, 0.5]}}, tmp_path / "beside.pth")
    notes = load_checkpoint(tmp_path / "beside.pth").provenance.notes
    assert "not read, of names that are not known here: data_config" in notes
