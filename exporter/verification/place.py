"""Where and how long an artifact may run for its proof, as keywords. Importing this file imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

TIMEOUT_S = 900.0
"""For one answer: to load, with a compilation for each batch size, or to run a batch; a small board takes minutes."""


class PlaceOptions(TypedDict, total=False):
    """Keywords of `slide_export.verify` and `verify_all`.

    Attributes:
        device: where the artifact runs, ssh://[user@]host[:port][/directory]; this machine without it.
        keep: leave on the device what was copied there, and log where.
        timeout_s: to load an artifact, or for one batch; one that takes longer is stopped.
    """

    device: str | None
    keep: bool
    timeout_s: float


class BatchOptions(PlaceOptions, total=False):
    """Keywords of `verify_all` alone, beside those of a place.

    Attributes:
        draw: directory for the golden images' answers as pictures, PNG, the artifact's above the PyTorch model's.
        jobs: processes that measure the accuracy, where there are images enough for several; 1.
    """

    draw: Path | str | None
    jobs: int
