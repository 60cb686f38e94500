"""How far from the limit is an artifact, and what does a precision gain? Slide-Swin-T and Swin-T beside the peaks.

    python -m tests.benchmarks.limits [ROUNDS] [TARGET ...]

Random weights cost the same; int8 is calibrated on the bundled photographs. Goals: bf16 at most 0.55 of fp32 with AMX,
int8 at most 0.65 (ONNX Runtime) and 0.60 (OpenVINO) with VNNI, fp32 at most 1.5 of the limit under OpenVINO,
Slide-Swin-T at most Swin-T in each precision.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, LoweringOptions
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.plan import BenchPlan
from slide_export.benchmark.profile import by_group
from slide_export.benchmark.roofline import roofline
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import bundled
from slide_export.calibration.quantization import NumericFormat, in_precision
from slide_export.calibration.recipe import default
from slide_export.checkpoint.variants import macs_of
from slide_export.core.artifact import ModelIO
from slide_export.core.graph import OnnxGraph
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult
from slide_export.core.precision import BF16, FP32, INT8, Precision
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form, serve
from tests.benchmarks.speed import random_model, ratio

TARGETS, VARIANTS, PRECISIONS = ("onnx", "openvino"), ("slide_swin_tiny", "swin_tiny"), (FP32, BF16, INT8)
ROUNDS, CALLS, THREADS = 20, 3, 2


@dataclass(frozen=True)
class Contestant:
    """A variant in a form; "" is that of a model without slide attention."""

    name: str
    variant: str
    form: str


def candidates(
    target: str, contestants: Sequence[Contestant], room: Path, options: Mapping[str, str] | None = None
) -> Iterator[latency.Candidate]:
    """Every contestant in every precision that the target computes on this machine."""
    backend = backends.require(target, FP32.name)
    precisions = [
        one
        for one in PRECISIONS
        if one.name in backend.PRECISIONS and optional.precision_obstacle(backend, one.name) is None
    ]
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    for contestant in contestants:
        model = random_model(contestant.variant)
        fused = fuse(model)
        graph = onnx_graph.export(in_form(choose(fused, contestant.form or "auto"), ModelIO()))
        pictures = FedImages(
            cached(bundled(), PictureStore(model.data, model.image_size)), serve(model, ModelIO()).feeds
        )
        for precision in precisions:
            recipe = default(target, "int8") if precision is INT8 else None
            numbers = NumericFormat(precision, recipe).on_this_machine()
            # A bfloat16 artifact holds the float32 graph: its runtime rounds.
            reduced = graph if recipe is None else in_precision(graph, numbers, pictures)[0]
            subject = ArtifactInfo(
                contestant.name,
                target,
                precision.name,
                contestant.variant,
                contestant.variant,
                (224, 224),
                weights="random",
                lowering=contestant.form,
                macs=macs_of(fused, 1),
            )
            yield lowered(backend, subject, reduced, precision, images, room, options)


def lowered(
    backend: Backend,
    subject: ArtifactInfo,
    graph: OnnxGraph,
    precision: Precision,
    images: np.ndarray,
    room: Path,
    options: Mapping[str, str] | None = None,
) -> latency.Candidate:
    """A graph as the target's artifact, what it weighs and computes in, and what it is fed."""
    place = room / f"{subject.target}-{subject.name}-{subject.lowering}-{precision}"
    place.mkdir()
    asked = LoweringOptions(precision, ModelIO(), backends.complete_options(subject.target, options or {}))
    artifact = backend.lower(graph, place, asked)
    told = replace(
        subject,
        artifact_bytes=sum(file.stat().st_size for file in place.iterdir()),
        computed=optional.dtype_stats(backend, artifact.path, artifact.settings).computed,
    )
    return latency.Candidate(told, artifact.path, artifact.settings, {graph.inputs[0].name: images})


def measured(target: str, rounds: int) -> BenchmarkResult:
    """All of a target in interleaved rounds, with the machine's peaks and profiles."""
    with tempfile.TemporaryDirectory() as temporary:
        plan = BenchPlan(rounds=rounds, calls=CALLS, threads=THREADS, profile=True, roofline=True)
        forms = (backends.default_form(target), "")
        found = [Contestant(one, one, form) for one, form in zip(VARIANTS, forms, strict=True)]
        return latency.measure(list(candidates(target, found, Path(temporary))), plan)


def show(target: str, result: BenchmarkResult, rounds: int) -> None:
    """Print a target's table in Markdown."""
    machine, peaks = result.environment, result.peaks
    print(f"## {target}, {machine.cpu} ({' '.join(machine.flags)}), {THREADS} threads, {rounds} interleaved rounds\n")
    if peaks is not None:
        print(f"Peaks, 1e9 multiply-adds a second: {peaks.gmacs_per_s}; 1e9 bytes a second: {peaks.read_gb_per_s}\n")
    print("| | ms | of fp32 | of Swin-T | limit ms | × of the limit | where |\n|---|---|---|---|---|---|---|")
    runs = {(run.subject.variant, run.subject.precision): run for run in result.runs}
    for (variant, precision), run in runs.items():
        limit = roofline(run, peaks)
        beside = [ratio(run, runs[variant, "fp32"]), ratio(run, runs["swin_tiny", precision])]
        far = ["-", "-"] if limit is None else [f"{limit.limit_ms:.1f}", f"{limit.factor:.2f}"]
        where = ", ".join(f"{group} {ms:.1f}" for group, ms in by_group(run).items())
        cells = [f"{run.p50_ms.value:.1f}", *(f"{one:.2f}" for one in beside), *far, where]
        print(f"| {variant} {precision} | {' | '.join(cells)} |", flush=True)
    print()


def main(rounds: str = str(ROUNDS), *targets: str) -> None:
    """Print a table a target."""
    for target in targets or TARGETS:
        show(target, measured(target, int(rounds)), int(rounds))


if __name__ == "__main__":
    main(*sys.argv[1:])
