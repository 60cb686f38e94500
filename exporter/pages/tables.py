"""Every number of a result, exactly, with its unit and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slide_export.benchmark.profile import GROUPS, by_group, by_kind
from slide_export.benchmark.roofline import Roofline
from slide_export.core.measurement import KINDS, ArtifactTiming, BenchmarkResult, Peaks

from .document import Table
from .figures import profile
from .phrasing import DASH, detail, interval, mib, model_name, ms, session_name, shown

RUN_COLUMNS = ("model", "target, form", "batch")


def _run(run: ArtifactTiming) -> tuple[str, str, str]:
    return model_name(run), detail(run), str(run.batch)


def latency(result: BenchmarkResult) -> Table:
    """Percentiles of each run."""
    confidence = f"{result.protocol.confidence:.0%}"
    return Table(
        f"Milliseconds of one call, with {confidence} intervals",
        (*RUN_COLUMNS, "p50 ms", "p90 ms", "p99 ms", "images/s"),
        tuple(
            (*_run(run), interval(run.p50_ms), interval(run.p90_ms), interval(run.p99_ms), f"{run.images_per_s:.1f}")
            for run in result.runs
        ),
        left=2,
    )


def start_up(result: BenchmarkResult) -> Table:
    """Costs of each run beside its calls: start, memory, size."""
    return Table(
        "Load, first call, memory, size",
        (
            *RUN_COLUMNS,
            "import ms",
            "load ms",
            "first call ms",
            "warm-up calls",
            "peak MiB",
            "artifact MiB",
            "parameters M",
            "MACs G",
        ),
        tuple(
            (
                *_run(run),
                _ms(run.import_ms),
                _ms(run.load_ms),
                _ms(run.first_ms),
                str(run.warmup_calls) + ("" if run.stable else " (not stable)"),
                DASH if run.peak_mib is None else f"{run.peak_mib:.0f}",
                mib(run.subject.artifact_bytes),
                _in_units(run.subject.parameters, 1e6),
                _in_units(run.subject.macs, 1e9),
            )
            for run in result.runs
        ),
        left=2,
    )


def _ms(value: float | None) -> str:
    return DASH if value is None else ms(value)


def _in_units(number: int, unit: float) -> str:
    return f"{number / unit:.2f}" if number else DASH


def ratios(result: BenchmarkResult) -> Table:
    """Every comparison."""
    runs = result.runs
    return Table(
        f"Ratio of two runs of this session, with {result.protocol.confidence:.0%} intervals",
        ("model", "beside", "target", "batch", "ratio", "verdict"),
        tuple(
            (
                model_name(runs[found.a]),
                model_name(runs[found.b]),
                _both(runs[found.a].subject.target, runs[found.b].subject.target),
                str(runs[found.a].batch),
                interval(found.ratio, 3),
                found.verdict,
            )
            for found in result.comparisons
        ),
        left=3,
    )


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} / {b}"


def side_by_side(results: Sequence[BenchmarkResult]) -> Table:
    """Medians of every session side by side."""
    cells: dict[tuple[str, str, str], dict[int, str]] = {}
    for column, result in enumerate(results):
        for run in result.runs:
            values = cells.setdefault(_run(run), {})
            values[column] = ", ".join(filter(None, (values.get(column), interval(run.p50_ms))))
    return Table(
        "Median milliseconds in each session. Put side by side, not compared: the machines or their states differ",
        (*RUN_COLUMNS, *map(session_name, results)),
        tuple((*key, *(values.get(column, DASH) for column in range(len(results)))) for key, values in cells.items()),
        left=2,
    )


def costs(runs: Sequence[ArtifactTiming], what: str, unit: str, values: Sequence[float]) -> Table:
    """Median of each run, and the quantity that it is set against."""
    rows = ((*_run(run), interval(run.p50_ms), f"{value:.2f}") for run, value in zip(runs, values, strict=True))
    return Table(f"Median latency and {what}", (*RUN_COLUMNS, "p50 ms", f"{what}, {unit}"), tuple(rows), left=2)


def parity(runs: Sequence[ArtifactTiming]) -> Table:
    """Proof of each run that has one."""
    return Table(
        "The artifact beside the trained PyTorch model in float64",
        (
            "model",
            "target, form",
            "output",
            "proof",
            "largest error",
            "noise floor",
            "limit",
            "SQNR dB",
            "same top-1",
        ),
        tuple(
            (model_name(run), detail(run), output["name"], _passed(proof), *_errors(output), _share(proof.get("top1")))
            for run in runs
            if (proof := run.subject.parity)
            for output in proof["outputs"]
        ),
        left=4,
    )


def _passed(proof: Mapping[str, Any]) -> str:
    return "passed" if proof["passed"] else "FAILED"


def _errors(output: Mapping[str, Any]) -> tuple[str, ...]:
    errors = (shown(output[key], ".2e") for key in ("max_abs", "floor_max", "limit_max"))
    return (*errors, "exact" if output["max_abs"] == 0 else shown(output["sqnr_db"], ".1f"))


def _share(top1: float | None) -> str:
    return DASH if top1 is None else f"{top1:.2%}"


def kinds(result: BenchmarkResult) -> Table:
    """Time of each profiled run by kind of operator."""
    return Table(
        "Milliseconds of one call by kind of operator, from the runtime's own profiler, in a run of its own",
        (*RUN_COLUMNS, *(f"{kind} ms" for kind in KINDS), "all ms"),
        tuple(
            (*_run(run), *(f"{time:.2f}" for time in times.values()), f"{sum(times.values()):.2f}")
            for run in result.runs
            if run.profile
            for times in [by_kind(run.profile)]
        ),
        left=2,
    )


def blocks(run: ArtifactTiming) -> Table:
    """Time of one profiled run by block and kind of operator."""
    return Table(
        f"{model_name(run)}, {detail(run)}: milliseconds by block",
        ("block", *(f"{kind} ms" for kind in KINDS), "all ms"),
        tuple(
            (name, *(f"{times[kind]:.3f}" for kind in KINDS), f"{sum(times.values()):.3f}")
            for name, times in profile.blocks(run).items()
        ),
    )


def groups(result: BenchmarkResult) -> Table:
    """Time of each profiled run by what it is for."""
    return Table(
        "Milliseconds of one call by what they are for",
        (*RUN_COLUMNS, *(f"{group} ms" for group in GROUPS)),
        tuple((*_run(run), *(f"{time:.2f}" for time in by_group(run).values())) for run in result.runs if run.profile),
        left=2,
    )


def rooflines(found: Sequence[tuple[ArtifactTiming, Roofline]]) -> Table:
    """The limits of each run, and how far above them it is."""
    return Table(
        "Milliseconds that no program goes below on this machine, and each run over the larger of the two",
        (*RUN_COLUMNS, "type", "products ms", "bytes ms", "p50 ms", "× of the limit"),
        tuple(
            (
                *_run(run),
                one.kind,
                *(ms(value) for value in (one.products_ms, one.reading_ms, one.measured_ms)),
                f"{one.factor:.2f}",
            )
            for run, one in found
        ),
        left=2,
    )


def peaks(found: Peaks) -> Table:
    """What the machine reached at best."""
    products = (
        (f"products in {kind}", f"{rate:.1f}", "1e9 multiply-adds/s") for kind, rate in found.gmacs_per_s.items()
    )
    reading = ((f"reading {size} MiB", f"{rate:.1f}", "1e9 bytes/s") for size, rate in found.read_gb_per_s.items())
    return Table(f"At best with up to {found.threads} threads", ("what", "rate", "unit"), (*products, *reading), left=1)


def environments(results: Sequence[BenchmarkResult]) -> Table:
    """Machine and protocol of each session, one column each."""
    columns = [dict(_facts(result)) for result in results]
    names = dict.fromkeys(name for column in columns for name in column)
    return Table(
        "Environment and protocol",
        ("", *map(session_name, results)),
        tuple((name, *(column.get(name, DASH) for column in columns)) for name in names),
        left=1 + len(results),
    )


def _facts(result: BenchmarkResult) -> Iterator[tuple[str, str]]:
    machine, protocol = result.environment, result.protocol
    yield "processor", f"{machine.cpu}, {machine.cores} cores" if machine.cores else machine.cpu
    yield "flags", " ".join(machine.flags) or DASH
    yield "memory", f"{machine.memory_mib / 1024:.1f} GiB" if machine.memory_mib else DASH
    yield "governor", machine.governor or "not told by the system"
    yield "load average before", f"{machine.load_average:.2f}"
    yield "system", machine.system or DASH
    yield "Python", machine.python or DASH
    yield from machine.versions.items()
    yield "rounds × calls", f"{protocol.rounds} × {protocol.calls}, interleaved"
    yield "threads", str(protocol.threads or "as the runtime chooses")
    yield "processors bound to", ", ".join(map(str, protocol.affinity)) or "not bound"
    yield "counts as the same", f"within {protocol.same_within:.0%} of 1"


def settings(results: Sequence[BenchmarkResult]) -> Table:
    """Evaluator and settings of each run."""
    rows = (
        (*_run(run), run.evaluator, ", ".join(_settings(run.settings)) or DASH)
        for result in results
        for run in result.runs
    )
    return Table(
        "What ran each artifact, and how it was started", (*RUN_COLUMNS, "evaluator", "settings"), tuple(rows), left=5
    )


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """What a runtime was started with, NAME=VALUE; a setting that holds others is told by these."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _settings(value)
        else:
            yield f"{name}={value}"
