"""Values of a measurement, frozen. The attributes of a `BenchmarkResult` and its parts are the fields of its JSON.

This file imports nothing, so that it can be copied to a device; see `benchmark/devices/device_runner.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

KINDS = ("gemm", "convolution", "softmax", "layout", "other")  # of the operators in a profile
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms")
DERIVED = (*PERCENTILES, "images_per_s")  # fields of a run that are computed where a JSON leaves one of them out
Verdict = Literal["faster", "slower", "same", "cannot tell"]
OPPOSITE: Mapping[Verdict, Verdict] = {"faster": "slower", "slower": "faster"}
Product = Literal["dense", "spatial", "activations"]
"""Matrix product with weights; any other convolution; product of two activations."""


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ArtifactInfo:
    """The artifact that was measured.

    Attributes:
        name: of the bundle, or of the variant in a comparison.
        manifest_sha256: of the bundle's manifest; "" without a bundle.
        weights: "trained" or "random".
        lowering: the form of slide attention, "" where the model has none. The name is that of the JSON.
        parameters: of the train-time form.
        macs: multiply-adds of one image.
        artifact_bytes: size of the artifact alone.
        parity: the manifest's "parity", empty without a proof.
        accuracy: the manifest's "accuracy", empty where none was measured.
        classes: width of the head; 0 where unknown.
        computed: convolutions and matrix products by the type that they compute in; None where nobody counted.
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
    computed: Mapping[str, int] | None = None


@dataclass(frozen=True)
class ModuleTime:
    """One line of a profile.

    Attributes:
        module: path of the PyTorch module; "" outside every module.
        operator: the runtime's name of the operation.
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
        stand_in: why its time says nothing about the target's device, where a substitute runtime ran it; else "". The
            name is that of the JSON.
        settings: of its runtime.
        rounds_ms: for each round, milliseconds of each call; as many in each.
        warmup_calls: calls before the first round, until the time was stable.
        stable: whether it became stable.
        import_ms: import of the runtime; None where it is linked into the program, or unknown.
        load_ms: from a path to a session, the runtime being imported; None where unknown.
        first_ms: the first call, which allocates; None where unknown.
        peak_mib: largest resident set of the process that ran only this artifact; None where the system does not tell,
            or the process ran more.
        p50_ms, p90_ms, p99_ms: percentiles of all calls; computed where the JSON leaves them out.
        images_per_s: throughput, batch over the median; computed likewise.
        profile: of the runtime's own profiler, from a separate run; empty unless requested.
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
        a, b: indices into `BenchmarkResult.runs`.
        ratio: a's time over b's, median over the rounds of the ratio within a round.
        verdict: on a relative to b; "cannot tell" unless the whole interval is within `BenchProtocol.same_within` of 1
            or all on one side of that band.
    """

    a: int
    b: int
    ratio: Interval
    verdict: Verdict


@dataclass(frozen=True)
class Environment:
    """The machine and its software. A fact that the system does not tell stays empty or 0.

    Attributes:
        device: the user's name for it: "this machine", a label, or a device's address.
        cpu: name of the processor or, where only that is known, of the device or the browser.
        flags: relevant instruction-set extensions.
        cores: processors that may be used; 0 where unknown.
        memory_mib: of the machine; 0 where unknown.
        governor: frequency governor, "" where the system has none.
        python: version; "" where no Python is involved.
        versions: of installed distributions, by name.
        load_average: over the last minute, before the measurement began.
        warnings: reasons to doubt these numbers, one sentence each.
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
class BenchProtocol:
    """How it was measured.

    Attributes:
        calls: of each artifact in one round.
        threads: of each runtime; 0 where the runtime chooses and takes no setting.
        affinity: processors that every process was bound to; empty where none was.
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
class Peaks:
    """What the machine reached at best in this session; see `benchmark/peaks.py`.

    Attributes:
        threads: at most.
        gmacs_per_s: 1e9 multiply-adds a second of a matrix product, by element type.
        read_gb_per_s: 1e9 bytes a second read of a buffer, by its size in MiB.
    """

    threads: int
    gmacs_per_s: Mapping[str, float]
    read_gb_per_s: Mapping[str, float]


@dataclass(frozen=True)
class BenchmarkResult:
    """One session: runs on one machine in interleaved rounds, which may therefore be compared.

    Attributes:
        measured: begin of the session, ISO 8601 in UTC.
        comparisons: of each run with those before it; computed where the JSON leaves them out.
        peaks: None where they were not measured.
    """

    measured: str
    environment: Environment
    protocol: BenchProtocol
    runs: tuple[ArtifactTiming, ...]
    comparisons: tuple[Comparison, ...] = ()
    peaks: Peaks | None = None

    def comparison(self, a: int, b: int) -> Comparison | None:
        """Run a relative to run b, whichever way the result has the pair; None where it does not compare them.

        Given    Comparison(2, 0, Interval(0.5, 0.4, 0.8), "faster")
        Result   comparison(0, 2) = Comparison(0, 2, Interval(2.0, 1.25, 2.5), "slower")
        """
        for found in self.comparisons:
            if (found.a, found.b) == (a, b):
                return found
            if (found.a, found.b) == (b, a):
                ratio = found.ratio
                inverse = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)  # the bounds change places
                return Comparison(a, b, inverse, OPPOSITE.get(found.verdict, found.verdict))
        return None


@dataclass(frozen=True)
class Executed:
    """One operation that a runtime executed in each call.

    Attributes:
        module: path of the PyTorch module; None where the runtime has lost it.
        operator: the runtime's name of the operation.
        product: kind of product, None where it is none.
        ms: of each call.
    """

    module: str | None
    operator: str
    product: Product | None
    ms: tuple[float, ...]


@dataclass(frozen=True)
class StageTimes:
    """Latency of each form of attention in one stage.

    Attributes:
        layer: module name of the stage's first attention that has several forms.
        size: rows, columns and channels of its feature map.
        heads: of the attention.
        kernel_size: side of the neighbourhood; of a deformable attention, of the convolution that makes offsets.
        ms: median of half a block, by form.
        machine: processor and runtime.
    """

    layer: str
    size: tuple[int, int, int]
    heads: int
    kernel_size: int
    ms: Mapping[str, float]
    machine: str

    @property
    def fastest(self) -> str:
        """Form with the smallest median."""
        return min(self.ms, key=lambda form: self.ms[form])
