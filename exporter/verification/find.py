"""Paths and globs -> bundles. Importing this file imports neither torch nor numpy."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

MANIFEST = "manifest.json"  # as bundle.py has it, which imports numpy


def find(patterns: Iterable[Path | str], root: Path = Path()) -> tuple[Path, ...]:
    """Returns the bundles that paths and globs name, each once, in the order of the patterns and then of names.

    A glob takes the directories that hold a manifest, so that `exported/*` may have other files beside them; `**` goes
    through directories. What matches nothing stays as it is, as in a shell: whoever reads it then says that no bundle
    is there, and nothing passes for want of bundles.

    Args:
        root: the directory that relative patterns start from.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _matches(root / pattern):
            found.setdefault(path.resolve(), path)
    return tuple(found.values())


def _matches(pattern: Path) -> Iterator[Path]:
    if pattern.exists():  # also where its name has a bracket in it
        yield pattern
        return
    matches = map(Path, sorted(glob.glob(str(pattern), recursive=True)))  # noqa: PTH207  # Path's takes no absolute one
    yield from [match for match in matches if (match / MANIFEST).is_file()] or [pattern]
