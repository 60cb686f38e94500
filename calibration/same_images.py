"""Images that are the same as others: by their path, through links, or by their bytes.

Given:  set/1.png, set/2.png, and eval/a.png, a copy of set/1.png
Result: `Others(eval).among(set)` is set/1.png

Only files of one size are read: of the rest the sizes already differ.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from slide_export.core.errors import CalibrationError

from .archives import member_bytes, member_size
from .images import ImageSet


class Others:
    """Image sets that files are looked for in."""

    def __init__(self, *sets: ImageSet) -> None:
        self._files = [path for images in sets for path in images.paths()]
        self._read: dict[int, set[str]] = {}

    def among(self, images: ImageSet) -> tuple[Path, ...]:
        """The files of a set that are in these, too."""
        return tuple(file for file, path in zip(images.files, images.paths(), strict=True) if self._has(path))

    def without(self, images: ImageSet) -> ImageSet:
        """A set without the files that are in these, too."""
        same = set(self.among(images))
        return ImageSet(images.source, images.root, tuple(file for file in images.files if file not in same))

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(os.path.realpath(path) for path in self._files)

    @cached_property
    def _sizes(self) -> dict[int, list[Path]]:
        found: dict[int, list[Path]] = defaultdict(list)
        for path in self._files:
            if size := _size(path):
                found[size].append(path)
        return found

    def _has(self, path: Path) -> bool:
        if os.path.realpath(path) in self._paths:
            return True
        size = _size(path)
        if not size or size not in self._sizes:
            return False
        if size not in self._read:
            self._read[size] = {_digest(other) for other in self._sizes[size]}
        return _digest(path) in self._read[size]


def _size(path: Path) -> int:
    """Bytes of an image; 0 where it is not there."""
    try:
        return path.stat().st_size if path.is_file() else member_size(path)
    except (OSError, CalibrationError):
        return 0


def _digest(path: Path) -> str:
    """sha256 of an image's bytes; of one that cannot be read its path stands for it."""
    try:
        content = path.read_bytes() if path.is_file() else member_bytes(path)
    except (OSError, CalibrationError):
        return os.fspath(path)
    return hashlib.sha256(content).hexdigest()
