"""What a measurement found, as frozen values. The attributes are the fields of the JSON, by the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

KINDS = ("gemm", "convolution", "softmax", "layout", "other")  # of what a profile counts
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms")
DERIVED = (*PERCENTILES, "images_per_s")  # of a run: computed where a JSON leaves one of them out
Verdict = Literal["faster", "slower", "same", "cannot tell"]
Product = Literal["dense", "spatial", "activations"]
"""A matrix product with weights, any other convolution, a product of two activations."""


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ArtifactInfo:
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
        classes: width of the head; 0 where it is not told.
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
    classes: int = 0


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


@dataclass(frozen=True, kw_only=True)
class ArtifactTiming:
    """One artifact at one batch size.

    Attributes:
        evaluator: the program that ran it.
        stand_in: why its time says nothing of the target's device; "" where the target's own runtime ran it.
        settings: what its runtime was started with.
        rounds_ms: for each round, milliseconds of each call; as many in each.
        warmup_calls: made before the first round, until the time was stable.
        stable: whether it became so.
        import_ms: of the runtime's own import; None where it is linked into the program, or not told apart.
        load_ms: from a path to a session, the runtime being imported; None where not told.
        first_ms: the first call, which allocates; None where not told.
        peak_mib: largest resident set of the process that ran only this; None where the system does not tell, or the
            process ran more.
        p50_ms, p90_ms, p99_ms: percentiles of all calls; derived where the JSON leaves them out.
        images_per_s: throughput, batch over the median; derived likewise.
        profile: from the runtime's own profiler, in a run of its own; empty unless asked for.
    """

    subject: ArtifactInfo
    evaluator: str
    batch: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    rounds_ms: tuple[tuple[float, ...], ...]
    warmup_calls: int
    stable: bool
    import_ms: float | None = None
    load_ms: float | None
    first_ms: float | None
    peak_mib: float | None = None
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
    """The machine and what ran on it. What its system does not tell, or not to such a program, stays empty or 0.

    Attributes:
        device: the user's name for it, "this machine" or what `--device` said.
        cpu: its name or, where only that is told, the name of the device or the browser.
        flags: of its instruction set, those that matter here.
        cores: that may be used; 0 where not told.
        memory_mib: of the machine; 0 where not told.
        governor: of the frequency, "" where the system tells none.
        python: its version; "" where none is involved.
        versions: of what was installed, by name.
        load_average: of the last minute, before the measurement began.
        warnings: what makes these numbers doubtful, one sentence each.
    """

    device: str
    cpu: str
    flags: tuple[str, ...] = ()
    cores: int = 0
    memory_mib: int = 0
    governor: str = ""
    system: str = ""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    load_average: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """How it was measured.

    Attributes:
        calls: in a round, of each artifact.
        threads: that each runtime may use; 0 where it chooses, and cannot be told.
        affinity: the processors that every process was bound to; empty where none was.
        confidence: of the intervals.
        same_within: ratios closer to 1 than this count as the same.
    """

    rounds: int
    calls: int
    threads: int = 0
    affinity: tuple[int, ...] = ()
    confidence: float = 0.95
    same_within: float = 0.02


@dataclass(frozen=True)
class BenchmarkResult:
    """One sitting.

    Attributes:
        measured: when it began, ISO 8601 in UTC.
        comparisons: each run beside those before it; derived where the JSON leaves them out.
    """

    measured: str
    environment: Environment
    protocol: Protocol
    runs: tuple[ArtifactTiming, ...]
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class Executed:
    """What a runtime executed in each call.

    Attributes:
        module: the PyTorch module; None where the runtime has lost it.
        operator: the runtime's name of the operation.
        product: what kind of product it is, None if it is none.
        ms: of each call.
    """

    module: str | None
    operator: str
    product: Product | None
    ms: tuple[float, ...]
