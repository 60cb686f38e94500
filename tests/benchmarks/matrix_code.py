"""The code that a row of the matrix was made by: of its family and of its backend, as hashes."""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from slide_export.backends import registry as backends
from slide_export.models import family_of

SHOWN = 12  # digits of a hash


def pins(group: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """What the plan of a group pins: its families' code for all of it, each backend's for its target alone."""
    families = {f"family of {variant}": of_family(variant) for variant in group}
    return {**families, **{target: of_backend(target) for target in targets}}


def code_of(variant: str, target: str) -> str:
    """The code behind one row."""
    return hashlib.sha256(f"{of_family(variant)} {of_backend(target)}".encode()).hexdigest()[:SHOWN]


@cache
def of_family(variant: str) -> str:
    """Hash of the file that builds a variant."""
    return _hash([Path(inspect.getfile(family_of(variant).build))])


@cache
def of_backend(target: str) -> str:
    """Hash of a backend's file, or of all that is in its folder."""
    file = Path(str(sys.modules[backends.load(target).__name__].__file__))
    return _hash(sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file])


def _hash(files: Sequence[Path]) -> str:
    content = hashlib.sha256()
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()[:SHOWN]
