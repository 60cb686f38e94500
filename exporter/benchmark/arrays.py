"""Arrays as text and back: an .npz file in base64, for a line of a worker's protocol. It needs NumPy alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np


def packed(arrays: Mapping[str, Any]) -> str:
    """Returns arrays as text."""
    file = io.BytesIO()
    named = dict(arrays)
    np.savez(file, **named)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str) -> dict[str, Any]:
    """Returns the arrays of `packed`."""
    with np.load(io.BytesIO(base64.b64decode(text))) as given:
        return {name: given[name] for name in given.files}
