"""Where and how long an artifact may run for its proof, as keywords. Importing this file imports no torch."""

from __future__ import annotations

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
    """Keywords of `slide_export.verify_all`.

    Attributes:
        jobs: processes that measure the accuracy, where there are images enough for several; 1.
    """

    jobs: int
