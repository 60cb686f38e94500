"""The pictures below a directory, as torchvision's ImageFolder finds them, and what is left out, by name.

Given:  cat/1.png  cat/2.heic  cat/notes.txt  dog -> ../dogs  .ipynb_checkpoints/1.png
Result: cat/1.png  cat/2.heic  dog/7.png, and a word about notes.txt and .ipynb_checkpoints

Links to directories are followed, but for one that leads back to a directory that it lies in.
Source: torchvision 0.28.0, datasets/folder.py, make_dataset (`followlinks=True`) and IMG_EXTENSIONS.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slide_export.core.errors import CalibrationError
from slide_export.core.text import foreign

SUFFIXES = frozenset(
    {
        *(".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),  # torchvision's
        *(".avif", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".pbm", ".pnm"),
    }
)
"""Of pictures. One that this Pillow cannot decode is skipped by name, or refused where there are many."""
NO_CLASS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Directories of file systems and tools; those that begin with a dot are left out as well."""
MOST_DIRECTORIES = 200_000
NAMED = 5  # of what is left out

_log = logging.getLogger(__name__)


@dataclass
class LeftOut:
    """What a walk left out.

    Attributes:
        folders: hidden ones, and those of tools.
        files: with an ending of no picture.
    """

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def say(self, root: Path | str) -> None:
        """Warn of it, with its number and the first names."""
        for found, what in ((self.folders, "folders that hold no images of a set"), (self.files, "other files")):
            if found:
                names = ", ".join(foreign(name) for name in found[:NAMED])
                more = ", ..." if len(found) > NAMED else ""
                _log.warning("left out %d %s in %s: %s%s", len(found), what, foreign(root), names, more)


def pictures_below(root: Path) -> tuple[tuple[Path, ...], LeftOut]:
    """Find all files with the ending of a picture, sorted by path.

    Raises:
        CalibrationError: links make more directories of the tree than can be walked.
    """
    left, found = LeftOut(), []
    for place, files in _directories(root, left):
        for name in files:
            path = Path(place, name)
            if not is_picture(name):
                left.files.append(os.path.relpath(path, root))
            elif path.is_file():
                found.append(path)
    return tuple(sorted(found)), left


def is_picture(name: str, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Whether a name has the ending of a picture; AppleDouble files (._1.png) are none."""
    return Path(name).suffix.lower() in suffixes and not name.startswith("._")


def is_left_out(folder: str) -> bool:
    """Whether a directory of this name holds no images of a set."""
    return folder.startswith(".") or folder in NO_CLASS


def _directories(root: Path, left: LeftOut) -> Iterator[tuple[str, list[str]]]:
    """Walk every directory, links too, with its files."""
    above: dict[str, frozenset[str]] = {str(Path(root)): frozenset({os.path.realpath(root)})}
    for count, (place, folders, files) in enumerate(os.walk(root, followlinks=True)):
        if count >= MOST_DIRECTORIES:
            raise CalibrationError(f"expected at most {MOST_DIRECTORIES} directories of images, found more in {root}")
        around, kept = above.pop(str(Path(place))), []
        for name in folders:
            path = str(Path(place, name))
            real = os.path.realpath(path)
            if is_left_out(name):
                left.folders.append(os.path.relpath(path, root))
            elif real not in around:
                kept.append(name)
                above[path] = around | {real}
        folders[:] = kept
        yield place, files
