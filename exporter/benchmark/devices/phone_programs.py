"""Command-line programs that measure an artifact on a phone: their arguments, and how their output is read.

    onnxruntime_perf_test   writes each call's seconds into a file (Source: microsoft/onnxruntime,
                            onnxruntime/test/perftest/performance_runner.cc, PerformanceResult::DumpToFile)
    benchmark_app           prints the median of its calls alone (Source: openvinotoolkit/openvino,
                            samples/cpp/benchmark_app/statistics_report.cpp, LatencyMetrics::write_to_slog)

Neither takes real images or gives outputs back, so nothing is proved there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slide_export.core.errors import MeasurementError

TIMES_FILE = "times.csv"
END_OF_OUTPUT = ":end:"
LARGEST = 1e9  # eleven days in ms; more MiB than any phone has
UNPROVED = "the program on the phone makes its own inputs, and its outputs are not seen: this proves nothing"
RELOADED = "each round is a process of its own there, which loads the artifact again and warms up with one call"


@dataclass(frozen=True)
class ProgramReport:
    """Report of a program on one round.

    Attributes:
        ms: of each call, or one number for all of them.
        load_ms, first_ms, peak_mib: None where the program does not report them.
    """

    ms: tuple[float, ...]
    load_ms: float | None = None
    first_ms: float | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class PhoneProgram:
    """Program that runs a target's artifacts on a phone.

    Attributes:
        name: as its makers call it.
        arguments: for a worker's job and a number of calls.
        read: its report, from its output and the lines of `TIMES_FILE`.
        doubts: reasons to doubt its numbers, one sentence each.
    """

    name: str
    arguments: Callable[[Mapping[str, Any], int], Sequence[str]]
    read: Callable[[str, Sequence[str]], ProgramReport]
    doubts: tuple[str, ...]


def _perf_test(job: Mapping[str, Any], calls: int) -> list[str]:
    settings = job["settings"]
    entries = " ".join(f"{name}|{value}" for name, value in settings.get("config", {}).items())
    configured = ["-C", entries] if entries else []
    fixed = ["-f", f"batch:{job['batch']}", "-x", str(settings["threads"]), "-o", "99"]
    return ["-I", "-m", "times", "-r", str(calls), *fixed, *configured, job["path"], TIMES_FILE]


def _perf_test_report(printed: str, times: Sequence[str]) -> ProgramReport:
    """Read lines of "model,seconds,peak bytes,CPU percent,number"."""
    rows = [line.split(",") for line in times if line.count(",") == 4]
    load_s = _number(r"Session creation time cost: ([\d.e+-]+) s", printed)
    return ProgramReport(
        ms=tuple(float(row[1]) * 1e3 for row in rows),
        load_ms=None if load_s is None else load_s * 1e3,
        first_ms=_number(r"First inference time cost: ([\d.e+-]+) ms", printed),
        peak_mib=max(float(row[2]) for row in rows) / 2**20 if rows else None,
    )


def _benchmark_app(job: Mapping[str, Any], calls: int) -> list[str]:
    settings = job["settings"]
    precision = settings.get("config", {}).get("INFERENCE_PRECISION_HINT")
    typed = ["-infer_precision", str(precision)] if precision else []
    fixed = ["-b", str(job["batch"]), "-nthreads", str(settings["threads"]), "-api", "sync", "-hint", "none"]
    return ["-m", job["path"], "-d", "CPU", "-niter", str(calls), *fixed, *typed]


def _benchmark_app_report(printed: str, _: Sequence[str]) -> ProgramReport:
    median = _number(r"Median: +([\d.]+) ms", printed)
    return ProgramReport(
        ms=() if median is None else (median,),
        load_ms=_number(r"Compile model took ([\d.]+) ms", printed),
        first_ms=_number(r"First inference took ([\d.]+) ms", printed),
    )


def _unfit(report: ProgramReport) -> list[float]:
    """Numbers that no clock and no memory can have shown."""
    others = [number for number in (report.load_ms, report.first_ms, report.peak_mib) if number is not None]
    return [ms for ms in report.ms if not 0 < ms <= LARGEST] + [one for one in others if not 0 <= one <= LARGEST]


def _number(pattern: str, text: str) -> float | None:
    """The number that a pattern finds in a text, None where it finds none."""
    found = re.search(pattern, text)
    return float(found[1]) if found else None


PROGRAMS: Mapping[str, PhoneProgram] = {
    "onnx": PhoneProgram("onnxruntime_perf_test", _perf_test, _perf_test_report, (UNPROVED, RELOADED)),
    "openvino": PhoneProgram(
        "benchmark_app",
        _benchmark_app,
        _benchmark_app_report,
        (
            UNPROVED,
            RELOADED,
            "each round is one number there, the median of its calls: percentiles are those of these medians",
        ),
    ),
}
"""Program by target."""


def line(program: PhoneProgram, runner: str, job: Mapping[str, Any], calls: int) -> str:
    """Line of a phone's shell for one round; `read` takes its output."""
    words = shlex.join([f"./{runner}", *program.arguments(job, calls)])
    run = f"rm -f {TIMES_FILE}; LD_LIBRARY_PATH=. {words} 2>&1"
    return f"{run}; echo {END_OF_OUTPUT}; cat {TIMES_FILE} 2>/dev/null || true"


def read(program: PhoneProgram, name: str, output: str) -> ProgramReport:
    """Report of a program on one round.

    Args:
        name: of the artifact, in messages.
        output: of `line`.

    Raises:
        MeasurementError: the program failed, or reported no time, or one that cannot be.
    """
    printed, _, times = output.partition(END_OF_OUTPUT)
    takes = f"expected {program.name} to say how long {name} takes"
    try:
        report = program.read(printed, times.splitlines())
    except ValueError as error:
        raise MeasurementError(f"{takes}, found no number: {error}") from None
    if unfit := _unfit(report):
        raise MeasurementError(f"{takes}, found {unfit[0]:g}")
    if not report.ms:
        filled = [text.strip() for text in printed.splitlines() if text.strip()] or ["nothing"]
        raise MeasurementError(f"{takes}, found no time; it says: {filled[-1]}")
    return report
