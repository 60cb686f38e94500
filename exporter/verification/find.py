"""Paths and globs -> bundles. Importing this file imports neither torch nor numpy."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from slide_export.bundle.manifest import MANIFEST


def find(patterns: Iterable[Path | str], root: Path = Path()) -> tuple[Path, ...]:
    """The bundles that paths and globs name, each once, in the order of the patterns and then of names.

    A glob takes the directories that hold a manifest, so that `exported/*` may have other files beside them; `**` goes
    through directories. What matches nothing stays as it is, as in a shell: whoever reads it then says that no bundle
    is there, and nothing passes for want of bundles.

    Args:
        root: the directory that relative patterns start from.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _matches(root / pattern):
            found.setdefault(_resolved(path), path)
    return tuple(found.values())


def _resolved(path: Path) -> Path:
    """A path without links, or as it is where they lead round or no file can have the name."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def _matches(pattern: Path) -> Iterator[Path]:
    if os.path.lexists(pattern):  # also where its name has a bracket in it
        yield pattern
        return
    try:
        matches = map(Path, sorted(glob.glob(str(pattern), recursive=True)))  # noqa: PTH207  # Path's takes no absolute one
        found = [match for match in matches if _is_bundle(match)]
    except ValueError:  # a name that no file can have
        found = []
    yield from found or [pattern]


def _is_bundle(path: Path) -> bool:
    """Whether a directory holds a manifest, or may do so where nobody may look: whoever reads it then says why not."""
    try:
        return (path / MANIFEST).is_file()
    except PermissionError:
        return True
