"""What all workers of a session share: made by the one that needs it first, read by the others."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def of_session(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """The path of this name that is the same for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


def kept(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that one worker fills; a test that changes a file of it copies it first.

    Args:
        make: fills an empty directory; where it raises, the next one that asks tries again.
    """
    place = of_session(tmp_path_factory, name)
    done = place.with_name(f"{name}.done")
    with place.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)  # what one that failed has left
            place.mkdir()
            make(place)
            done.touch()
    return place
