"""Whether a file changed while it was read: what was loaded and what was hashed must be the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slide_export.core.errors import CheckpointError


@dataclass(frozen=True)
class Stamp:
    """What the system says of a file; another file in its place, or another content, has another one."""

    device: int
    inode: int
    size: int
    modified_ns: int


def stamp(path: Path) -> Stamp:
    """Take the stamp of a file."""
    found = path.stat()
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def refuse_changed(files: Sequence[Path], before: Sequence[Stamp]) -> None:
    """Refuse files that were written while they were read: a training that saves does so every time.

    Raises:
        CheckpointError: one was.
    """
    for path, known in zip(files, before, strict=True):
        try:
            now = stamp(path)
        except OSError:
            now = None
        if now != known:
            raise CheckpointError(
                f"expected a checkpoint that stays as it is, {path} was written or replaced while it was read: run it "
                "again, on a copy if a training still saves there"
            )
