"""What came of one case of a suite."""

from __future__ import annotations

from dataclasses import dataclass

GOOD = ("fine", "refused", "skipped")
BAD = ("message", "traceback", "crash", "hang", "memory", "silent", "lost", "left")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one case.

    Attributes:
        verdict: fine | refused | message | traceback | crash | hang | memory | silent | lost | left | skipped: the
            right result, one clear sentence, an unclear one, or what went wrong. `left` is what no later run removes.
        detail: what to look at; empty where all is well.
    """

    verdict: str
    detail: str = ""
