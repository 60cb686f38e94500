"""How runs, numbers and comparisons are said, the same in prose, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slide_export.core.measurement import ArtifactTiming, BenchmarkResult, Comparison, Interval, Verdict

MIB = 2**20
DASH = "–"
OPPOSITE: dict[Verdict, Verdict] = {"faster": "slower", "slower": "faster"}


def runtime(run: ArtifactTiming) -> str:
    """Returns "ONNX Runtime" of "ONNX Runtime 1.32.0 on CPU"."""
    return re.split(r" (?=v?\d)| on ", run.evaluator, maxsplit=1)[0]


def title(run: ArtifactTiming) -> str:
    """Returns "swin_tiny fp32 under OpenVINO", with the batch size where it is not 1."""
    batch = "" if run.batch == 1 else f", batch {run.batch}"
    return f"{subject(run)} under {runtime(run)}{batch}"


def subject(run: ArtifactTiming) -> str:
    """Returns the name and the precision, which a bundle's name may say already."""
    name, precision = run.subject.name, run.subject.precision
    return name if name.endswith(precision) else f"{name} {precision}"


def detail(run: ArtifactTiming) -> str:
    """Returns what else tells one run from another: target, lowering, random weights."""
    said = run.subject
    parts = [said.target, f"lowering {said.lowering}" if said.lowering else "", _weights(run)]
    return ", ".join(part for part in parts if part)


def _weights(run: ArtifactTiming) -> str:
    return "" if run.subject.weights == "trained" else f"{run.subject.weights} weights"


def ms(value: float) -> str:
    """Returns milliseconds to two decimals, to three significant digits below 1."""
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def interval(of: Interval, digits: int = 2) -> str:
    """Returns "61.20 [60.81, 61.93]"."""
    return f"{of.value:.{digits}f} [{of.low:.{digits}f}, {of.high:.{digits}f}]"


def mib(size: int) -> str:
    """Returns MiB to one decimal, two below 10; a dash for an unknown size."""
    if not size:
        return DASH
    return f"{size / MIB:.1f}" if size >= 10 * MIB else f"{size / MIB:.2f}"


def count(number: int, noun: str) -> str:
    """Returns "1 run", "2 runs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Returns "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def sitting(result: BenchmarkResult) -> str:
    """Returns what tells one sitting from another, "this machine, 2026-11-24 17:03:24 UTC"."""
    return f"{result.environment.device}, {result.measured.replace('T', ' ').removesuffix('+00:00')} UTC"


def between(result: BenchmarkResult, a: int, b: int) -> Comparison | None:
    """Returns the comparison of run a beside run b, turned round where the result has it so; None where it has none."""
    for found in result.comparisons:
        if (found.a, found.b) == (a, b):
            return found
        if (found.a, found.b) == (b, a):
            ratio = found.ratio
            turned = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
            return Comparison(a, b, turned, OPPOSITE.get(found.verdict, found.verdict))
    return None


def bases(result: BenchmarkResult) -> dict[int, int | None]:
    """Returns for each run the one that it is told beside: the first of its batch size and target, else of its batch.

    None for the first run of each batch size.
    """
    return {place: _base(result.runs, place) for place in range(len(result.runs))}


def _base(runs: Sequence[ArtifactTiming], place: int) -> int | None:
    earlier = [other for other in range(place) if runs[other].batch == runs[place].batch]
    alike = [other for other in earlier if runs[other].subject.target == runs[place].subject.target]
    return next(iter((*alike, *earlier)), None)
