"""How a stage tells that it began and ended; the command line draws it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Progress = Callable[[str], AbstractContextManager[Any]]
"""Told what begins, in a few words; the context ends when the stage does."""


def no_progress(_what: str) -> AbstractContextManager[None]:
    """Report nothing."""
    return nullcontext()
