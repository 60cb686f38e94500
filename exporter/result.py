"""What a measurement found: the one JSON schema of `bench`, `compare` and of devices elsewhere, as frozen dataclasses.

A result is a list of runs, one for each artifact and batch size, measured in interleaved rounds by one machine in one
sitting: runs of one result may be compared, runs of two results only be put side by side. The attributes below are the
fields of the JSON, by the same names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from . import whole_file
from .errors import BundleError

SCHEMA = "slide-export/result/1"
KINDS = ("gemm", "convolution", "softmax", "layout", "other")  # of what a profile counts
Verdict = Literal["faster", "slower", "same", "cannot tell"]


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Subject:
    """What was measured.

    Attributes:
        name: of the bundle, or of the variant in a comparison.
        manifest_sha256: of the bundle's manifest; "" without a bundle.
        weights: "trained" or "random".
        lowering: the form of slide attention, or "" where there is none.
        parameters: of the train-time form.
        macs: multiply-adds of one image.
        artifact_bytes: of the artifact alone.
        parity: the manifest's "parity", empty without a proof.
        accuracy: the manifest's "accuracy", empty where none was measured.
    """

    name: str
    target: str
    precision: str
    family: str
    variant: str
    image_size: tuple[int, int]
    weights: str = "trained"
    lowering: str = ""
    parameters: int = 0
    macs: int = 0
    artifact_bytes: int = 0
    manifest_sha256: str = ""
    parity: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ModuleTime:
    """One line of a profile.

    Attributes:
        module: the PyTorch module's path; "" for what belongs to none.
        operator: the runtime's name of what it executed.
        kind: one of `KINDS`: "gemm" for the products of linear and patch layers; a product of two activations, as in
            window attention, is "other".
        ms: of one call, median over the profiled calls.
    """

    module: str
    operator: str
    kind: str
    ms: float


@dataclass(frozen=True)
class Run:
    """One artifact at one batch size.

    Attributes:
        evaluator: the program that ran it.
        stand_in: why its time says nothing of the target's device; "" where the target's own runtime ran it.
        settings: what its runtime was started with.
        rounds_ms: for each round, milliseconds of each call.
        warmup_calls: made before the first round, until the time was stable.
        stable: whether it became so.
        import_ms: of the runtime's own import.
        load_ms: from a path to a session, the runtime being imported.
        first_ms: the first call, which allocates.
        peak_mib: largest resident set of the process that ran only this.
        images_per_s: throughput, batch over the median.
        profile: from the runtime's own profiler, in a run of its own; empty unless asked for.
    """

    subject: Subject
    evaluator: str
    batch: int
    settings: Mapping[str, Any]
    rounds_ms: tuple[tuple[float, ...], ...]
    warmup_calls: int
    stable: bool
    import_ms: float
    load_ms: float
    first_ms: float
    peak_mib: float
    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    images_per_s: float
    stand_in: str = ""
    profile: tuple[ModuleTime, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two runs of one result, at the same batch size.

    Attributes:
        a, b: places in `Result.runs`.
        ratio: of a's time over b's, median over the rounds of the ratio within a round.
        verdict: of a beside b, where the whole interval is within `Protocol.same_within` of 1 or all on one side of it.
    """

    a: int
    b: int
    ratio: Interval
    verdict: Verdict


@dataclass(frozen=True)
class Environment:
    """The machine and what ran on it.

    Attributes:
        device: the user's name for it, "this machine" or what `--device` said.
        governor: of the frequency, "" where the system tells none.
        load_average: of the last minute, before the measurement began.
        warnings: what makes these numbers doubtful, one sentence each.
    """

    device: str
    cpu: str
    flags: tuple[str, ...]
    cores: int
    memory_mib: int
    governor: str
    system: str
    python: str
    versions: Mapping[str, str]
    load_average: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """How it was measured.

    Attributes:
        calls: in a round, of each artifact.
        threads: that each runtime may use.
        affinity: the processors that every process was bound to.
        confidence: of the intervals.
        same_within: ratios closer to 1 than this count as the same.
    """

    rounds: int
    calls: int
    threads: int
    affinity: tuple[int, ...]
    confidence: float = 0.95
    same_within: float = 0.02


@dataclass(frozen=True)
class Result:
    """One sitting.

    Attributes:
        measured: when it began, ISO 8601 in UTC.
    """

    measured: str
    environment: Environment
    protocol: Protocol
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...] = ()


def to_json(result: Result) -> str:
    """Returns the result as JSON text, its schema named first."""
    return json.dumps({"schema": SCHEMA, **asdict(result)}, indent=2) + "\n"


def from_json(text: str, source: str) -> Result:
    """Returns the result in a JSON text.

    Args:
        source: the file's name, for the message.

    Raises:
        BundleError: it is no result of this schema.
    """
    try:
        content = json.loads(text)
        found = content.pop("schema")
        if found != SCHEMA:
            raise BundleError(f"expected a result of schema {SCHEMA}, found {found!r} in {source}")
        return Result(
            measured=content["measured"],
            environment=_environment(content["environment"]),
            protocol=Protocol(**{**content["protocol"], "affinity": tuple(content["protocol"]["affinity"])}),
            runs=tuple(_run(run) for run in content["runs"]),
            comparisons=tuple(_comparison(comparison) for comparison in content["comparisons"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"expected a result of `slide-export bench` in {source}, found none: {error}") from error


def read(path: Path) -> Result:
    """Returns the result in a file.

    Raises:
        BundleError: the file cannot be read or holds no result.
    """
    try:
        return from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"expected a result file, {path} cannot be read: {error}") from error


def write(result: Result, path: Path) -> None:
    """Writes the result, whole or not at all.

    Raises:
        RequestError: nothing can be written there.
    """
    whole_file.write(path, to_json(result))


def _environment(content: Mapping[str, Any]) -> Environment:
    lists = {name: tuple(content[name]) for name in ("flags", "warnings")}
    return Environment(**{**content, **lists})


def _run(content: Mapping[str, Any]) -> Run:
    subject = content["subject"]
    intervals = {name: Interval(**content[name]) for name in ("p50_ms", "p90_ms", "p99_ms")}
    return Run(
        **{
            **content,
            **intervals,
            "subject": Subject(**{**subject, "image_size": tuple(subject["image_size"])}),
            "rounds_ms": tuple(tuple(calls) for calls in content["rounds_ms"]),
            "profile": tuple(ModuleTime(**line) for line in content["profile"]),
        }
    )


def _comparison(content: Mapping[str, Any]) -> Comparison:
    verdict = content["verdict"]
    if verdict not in get_args(Verdict):
        raise ValueError(f"no verdict: {verdict!r}")
    return Comparison(**{**content, "ratio": Interval(**content["ratio"])})
