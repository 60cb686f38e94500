"""Command-line programs that measure an artifact on a phone: how they are called, and what they say.

    onnxruntime_perf_test   writes each call's seconds into a file (Source: microsoft/onnxruntime,
                            onnxruntime/test/perftest/performance_runner.cc, PerformanceResult::DumpToFile)
    benchmark_app           says the median of its calls alone (Source: openvinotoolkit/openvino,
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

TIMES = "times.csv"
END = ":end:"  # of what a program printed
UNSEEN = "the program on the phone makes its own inputs, and its outputs are not seen: this proves nothing"
RELOADED = "each round is a process of its own there, which loads the artifact again and warms up with one call"


@dataclass(frozen=True)
class Said:
    """What a program said of one round.

    Attributes:
        ms: of each call, or one number for all of them.
        load_ms, first_ms, peak_mib: None where it does not tell.
    """

    ms: tuple[float, ...]
    load_ms: float | None = None
    first_ms: float | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class Program:
    """A program that runs a target's artifacts on a phone.

    Attributes:
        name: of its own.
        command: its arguments for a model's path, an order and a number of calls.
        read: what it said, from what it printed and the lines of `TIMES`.
        doubts: what to know of its numbers, a sentence each.
    """

    name: str
    command: Callable[[str, Mapping[str, Any], int], Sequence[str]]
    read: Callable[[str, Sequence[str]], Said]
    doubts: tuple[str, ...]


def _perf_test(model: str, order: Mapping[str, Any], calls: int) -> list[str]:
    settings = order["settings"]
    entries = " ".join(f"{name}|{value}" for name, value in settings.get("config", {}).items())
    configured = ["-C", entries] if entries else []
    fixed = ["-f", f"batch:{order['batch']}", "-x", str(settings["threads"]), "-o", "99"]
    return ["-I", "-m", "times", "-r", str(calls), *fixed, *configured, model, TIMES]


def _perf_test_said(printed: str, times: Sequence[str]) -> Said:
    """Reads lines of "model,seconds,peak bytes,CPU percent,number"."""
    rows = [line.split(",") for line in times if line.count(",") == 4]
    load_s = _number(r"Session creation time cost: ([\d.e+-]+) s", printed)
    return Said(
        ms=tuple(float(row[1]) * 1e3 for row in rows),
        load_ms=None if load_s is None else load_s * 1e3,
        first_ms=_number(r"First inference time cost: ([\d.e+-]+) ms", printed),
        peak_mib=max(float(row[2]) for row in rows) / 2**20 if rows else None,
    )


def _benchmark_app(model: str, order: Mapping[str, Any], calls: int) -> list[str]:
    settings = order["settings"]
    precision = settings.get("config", {}).get("INFERENCE_PRECISION_HINT")
    typed = ["-infer_precision", str(precision)] if precision else []
    fixed = ["-b", str(order["batch"]), "-nthreads", str(settings["threads"]), "-api", "sync", "-hint", "none"]
    return ["-m", model, "-d", "CPU", "-niter", str(calls), *fixed, *typed]


def _benchmark_app_said(printed: str, _: Sequence[str]) -> Said:
    median = _number(r"Median: +([\d.]+) ms", printed)
    return Said(
        ms=() if median is None else (median,),
        load_ms=_number(r"Compile model took ([\d.]+) ms", printed),
        first_ms=_number(r"First inference took ([\d.]+) ms", printed),
    )


def _number(pattern: str, text: str) -> float | None:
    """Returns the number that a pattern finds, None where there is none."""
    found = re.search(pattern, text)
    return float(found[1]) if found else None


PROGRAMS: Mapping[str, Program] = {
    "onnx": Program("onnxruntime_perf_test", _perf_test, _perf_test_said, (UNSEEN, RELOADED)),
    "openvino": Program(
        "benchmark_app",
        _benchmark_app,
        _benchmark_app_said,
        (
            UNSEEN,
            RELOADED,
            "each round is one number there, the median of its calls: percentiles are those of these medians",
        ),
    ),
}
"""By target."""


def line(program: Program, runner: str, model: str, order: Mapping[str, Any], calls: int) -> str:
    """Returns what a phone's shell runs for one round; what it prints is for `read`."""
    words = shlex.join([f"./{runner}", *program.command(model, order, calls)])
    return f"rm -f {TIMES}; LD_LIBRARY_PATH=. {words} 2>&1; echo {END}; cat {TIMES} 2>/dev/null || true"


def read(program: Program, name: str, output: str) -> Said:
    """Returns what a program said of a round.

    Args:
        name: what a message calls the artifact.
        output: of `line`.

    Raises:
        MeasurementError: it failed, or said no time.
    """
    printed, _, times = output.partition(END)
    said = program.read(printed, times.splitlines())
    if not said.ms:
        spoken = [text.strip() for text in printed.splitlines() if text.strip()] or ["nothing"]
        raise MeasurementError(
            f"expected {program.name} to say how long {name} takes, found no time; it says: {spoken[-1]}"
        )
    return said
