"""A file that is written while it is read is refused: the hash would be of other bytes than the weights."""

from pathlib import Path

import pytest
import torch

from slide_export.checkpoint import load
from slide_export.checkpoint.changes import refuse_changed, stamp
from slide_export.checkpoint.containers import digest
from slide_export.core.errors import CheckpointError
from slide_export.models.swin import SwinConfig, SwinTransformer

SMALL = SwinConfig(16, (1, 1), (1, 2), (4, 4), (32, 32), 10)


def test_a_file_that_stays_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    refuse_changed([path], [stamp(path)])


@pytest.mark.parametrize("how", ["longer", "replaced", "removed"])
def test_a_file_that_changed_is_another_one(how: str, tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"abc")
    other.write_bytes(b"abd")
    before = stamp(path)
    if how == "longer":
        path.write_bytes(b"abcd")
    elif how == "replaced":
        other.replace(path)
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match="was written or replaced while it was read: run it again"):
        refuse_changed([path], [before])


def test_a_training_that_saves_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, newer = tmp_path / "model.pth", tmp_path / "newer.pth"
    for file in (path, newer):
        torch.save(SwinTransformer(SMALL).state_dict(), file)

    def saves_before_hashing(files: tuple[Path, ...]) -> str:
        newer.replace(path)
        return digest(files)

    monkeypatch.setattr(load, "digest", saves_before_hashing)
    with pytest.raises(CheckpointError, match="was written or replaced while it was read"):
        load.load_checkpoint(path)
