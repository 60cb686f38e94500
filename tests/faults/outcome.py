"""How one injected fault or fuzzed input ended."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A verdict of fine, refused, message, traceback, crash, hang, memory, silent or lost, and what was seen."""

    verdict: str
    detail: str = ""
