"""Peaks of a machine, a run -> the milliseconds that it cannot go below, and how far above them it is.

    products   multiply-adds of the model, at the best rate that was measured for the fastest type that it computes in
    reading    bytes of the artifact, each once a call, at the best rate of a buffer no larger than it
    limit      the larger of the two: a processor may do both at once

Both are bounds that hold for any program: whatever else a graph computes comes on top.
Source: Williams, Waterman and Patterson, Roofline: an insightful visual performance model for multicore architectures,
Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

from slide_export.core.measurement import ArtifactTiming, Peaks
from slide_export.core.precision import PRECISIONS
from slide_export.proof.precision import WEIGHTS

MIB = 2**20


@dataclass(frozen=True)
class Roofline:
    """What bounds a run.

    Attributes:
        kind: the fastest of the element types that its products compute in.
        products_ms, reading_ms: least time of its multiply-adds, and of its bytes.
        measured_ms: its median.
    """

    kind: str
    products_ms: float
    reading_ms: float
    measured_ms: float

    @property
    def limit_ms(self) -> float:
        """Milliseconds that it cannot go below."""
        return max(self.products_ms, self.reading_ms)

    @property
    def factor(self) -> float:
        """Its time over that limit."""
        return self.measured_ms / self.limit_ms


def roofline(run: ArtifactTiming, peaks: Peaks | None) -> Roofline | None:
    """The bounds of a run; None where its multiply-adds, its types or the machine's peaks are unknown.

    Given    4.27e9 multiply-adds in float32, 113 MiB, 45 ms     183e9 a second, 32 MiB: 60e9 bytes a second
    Result   products 23.3 ms, reading 2.0 ms, 1.93 times the limit
    """
    subject = run.subject
    kinds = _kinds(run)
    if peaks is None or not subject.macs or not kinds or not all(peaks.gmacs_per_s.get(kind) for kind in kinds):
        return None
    kind = max(kinds, key=lambda one: peaks.gmacs_per_s[one])
    products_ms = subject.macs * run.batch / peaks.gmacs_per_s[kind] / 1e6
    reading_ms = subject.artifact_bytes / _gb_per_s(peaks, subject.artifact_bytes) / 1e6
    return Roofline(kind, products_ms, reading_ms, run.p50_ms.value)


def kinds_of(runs: tuple[ArtifactTiming, ...]) -> tuple[str, ...]:
    """Every element type that products of these runs compute in, in alphabetical order."""
    return tuple(sorted({kind for run in runs for kind in _kinds(run)}))


def _kinds(run: ArtifactTiming) -> tuple[str, ...]:
    """Types that were counted in the artifact, but for what is counted apart; its precision's where nobody counted."""
    if run.subject.computed:
        return tuple(kind for kind in run.subject.computed if kind in WEIGHTS)
    known = PRECISIONS.get(run.subject.precision)
    return () if known is None else (known.computed,)


def _gb_per_s(peaks: Peaks, size: int) -> float:
    """The rate of the largest buffer that is no larger than the artifact: a smaller one is not read more slowly."""
    sizes = sorted(peaks.read_gb_per_s, key=int)
    fitting = [name for name in sizes if int(name) * MIB <= size]
    return peaks.read_gb_per_s[fitting[-1] if fitting else sizes[0]]
