"""What native code prints to stderr, past Python: kept off the terminal, and told, for it may tell of a fault."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def native_text() -> Iterator[Callable[[], str]]:
    """Keep what is printed to stderr meanwhile; what it gives tells it, once the context has ended."""
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        texts: list[str] = []
        try:
            yield lambda: "".join(texts).strip()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            texts.append(kept.read().decode("utf-8", "replace"))
