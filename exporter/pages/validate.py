"""Check that a result's parts fit together. Its schema is checked when it is read; a page needs more."""

from __future__ import annotations

import math
from collections.abc import Iterator

from slide_export.benchmark.result_file import LONGEST_MS, SHORTEST_MS
from slide_export.core.errors import BundleError
from slide_export.core.measurement import KINDS, ArtifactTiming, BenchmarkResult
from slide_export.core.text import foreign

PROOF_KEYS = frozenset({"outputs", "passed"})
SMALLEST, LARGEST = 1e-12, 1e15
FARTHEST = 1e60
"""Of an error: float32 ends at 3e38, and each power of ten is a step of an axis."""
OUTPUT_KEYS = frozenset({"name", "max_abs", "floor_max", "limit_max", "sqnr_db"})


def refuse_unsound(result: BenchmarkResult, source: str) -> None:
    """Refuse a result that no page can be made of.

    Args:
        source: the file's name, for the message.

    Raises:
        BundleError: something is missing in it or points nowhere.
    """
    for problem in map(foreign, _problems(result)):
        raise BundleError(f"expected a result whose parts fit together in {source}, found {problem}: measure it again")


def _problems(result: BenchmarkResult) -> Iterator[str]:
    if not result.runs:
        yield "no run"
    for run in result.runs:
        yield from (f"{problem} of {run.subject.name}" for problem in _of_run(run))
    for comparison in result.comparisons:
        for index in (comparison.a, comparison.b):
            if not 0 <= index < len(result.runs):
                yield f"a comparison with run {index}, which is not there"
        if not all(SMALLEST < value < LARGEST for value in vars(comparison.ratio).values()):
            yield "a ratio that is not above 0"


def _of_run(run: ArtifactTiming) -> Iterator[str]:
    times = [*(call for calls in run.rounds_ms for call in calls), run.p50_ms.value, run.p90_ms.value, run.p99_ms.value]
    if not run.rounds_ms or not all(run.rounds_ms):
        yield "a round without a call"
    if not all(SHORTEST_MS <= time <= LONGEST_MS for time in times):
        yield "a time that is not above 0"
    intervals = (run.p50_ms, run.p90_ms, run.p99_ms)
    if not all(0 <= end <= LONGEST_MS for one in intervals for end in (one.low, one.high)):
        yield "an interval that is no time"
    if run.batch < 1 or not 0 <= run.images_per_s < LARGEST:
        yield "a batch or a throughput that cannot be"
    if any(not 0 <= line.ms <= LONGEST_MS for line in run.profile):
        yield "a profile with a time that is below 0"
    if unknown := {line.kind for line in run.profile} - set(KINDS):
        yield f"a profile of the unknown kind {min(unknown)!r}"
    proof = run.subject.parity or {}
    if proof and not (proof.keys() >= PROOF_KEYS and all(output.keys() >= OUTPUT_KEYS for output in proof["outputs"])):
        yield "a proof without its numbers"
    elif proof and any(_beyond(output[name]) for output in proof["outputs"] for name in OUTPUT_KEYS - {"name"}):
        yield "a proof with a number that cannot be"


def _beyond(value: float | None) -> bool:
    """Whether a number is finite and yet beyond what an axis shows; what is not finite is told in words."""
    return value is not None and math.isfinite(value) and not abs(value) < FARTHEST
