"""Words for runs, numbers and comparisons, the same in prose, tables and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from slide_export.core.measurement import ArtifactTiming, BenchmarkResult, Interval

MIB = 2**20
DASH = "–"


def runtime(run: ArtifactTiming) -> str:
    """Name of the runtime: "ONNX Runtime" for the evaluator "ONNX Runtime 1.32.0 on CPU"."""
    return re.split(r" (?=v?\d)| on ", run.evaluator, maxsplit=1)[0]


def title(run: ArtifactTiming) -> str:
    """Full name of a run: "swin_tiny fp32 under OpenVINO", with the batch size where it is not 1."""
    batch = "" if run.batch == 1 else f", batch {run.batch}"
    return f"{model_name(run)} under {runtime(run)}{batch}"


def model_name(run: ArtifactTiming) -> str:
    """Name and precision; the name alone where it ends with the precision already."""
    name, precision = run.subject.name, run.subject.precision
    return name if name.endswith(precision) else f"{name} {precision}"


def detail(run: ArtifactTiming) -> str:
    """What else distinguishes runs: target, form, random weights."""
    target, form = run.subject.target, run.subject.lowering
    parts = [target, f"form {form}" if form else "", _weights(run)]
    return ", ".join(part for part in parts if part)


def _weights(run: ArtifactTiming) -> str:
    return "" if run.subject.weights == "trained" else f"{run.subject.weights} weights"


def is_number(value: float | None) -> bool:
    """Whether a number of a result is one: what is not finite stands as null in JSON."""
    return value is not None and math.isfinite(value)


def shown(value: float | None, form: str) -> str:
    """A number in a format, or that it is not finite."""
    return format(value, form) if value is not None and math.isfinite(value) else "not finite"


def ms(value: float) -> str:
    """Milliseconds to two decimals, to three significant digits below 1."""
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def interval(of: Interval, digits: int = 2) -> str:
    """A value with its interval: "61.20 [60.81, 61.93]"."""
    return f"{of.value:.{digits}f} [{of.low:.{digits}f}, {of.high:.{digits}f}]"


def mib(size: int) -> str:
    """Bytes in MiB to one decimal, two below 10; a dash for an unknown size."""
    if not size:
        return DASH
    return f"{size / MIB:.1f}" if size >= 10 * MIB else f"{size / MIB:.2f}"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def join_names(names: Sequence[str]) -> str:
    """Names in a sentence: "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def session_name(result: BenchmarkResult) -> str:
    """Name of a session: "this machine, 2026-11-24 17:03:24 UTC"."""
    return f"{result.environment.device}, {result.measured.replace('T', ' ').removesuffix('+00:00')} UTC"


def bases(result: BenchmarkResult) -> dict[int, int | None]:
    """For each run the one to compare it with: the first of its batch size and target, else of its batch size.

    None for the first run of each batch size.
    """
    return {index: _base(result.runs, index) for index in range(len(result.runs))}


def _base(runs: Sequence[ArtifactTiming], index: int) -> int | None:
    earlier = [other for other in range(index) if runs[other].batch == runs[index].batch]
    alike = [other for other in earlier if runs[other].subject.target == runs[index].subject.target]
    return next(iter((*alike, *earlier)), None)
