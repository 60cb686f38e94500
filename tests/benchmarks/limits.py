"""Is bf16 worth it, and how far from the limit is it? Slide-Swin-T and Swin-T under OpenVINO, beside the peaks.

    python -m tests.benchmarks.limits [ROUNDS]

Random weights cost the same. Goals: bf16 at most 0.55 of fp32 with AMX, fp32 at most 1.5 of the limit, Slide-Swin-T
at most Swin-T in each precision.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.plan import BenchPlan
from slide_export.benchmark.profile import by_group
from slide_export.benchmark.roofline import roofline
from slide_export.checkpoint.variants import macs_of
from slide_export.core.artifact import ModelIO
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult
from slide_export.core.precision import BF16, FP32
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from tests.benchmarks.speed import random_model, ratio

TARGET, VARIANTS, PRECISIONS = "openvino", ("slide_swin_tiny", "swin_tiny"), (FP32, BF16)  # bf16 where it is computed
ROUNDS, CALLS, THREADS = 20, 3, 2


def measured(rounds: int) -> BenchmarkResult:
    """Every variant in every precision, in interleaved rounds, with the machine's peaks and profiles."""
    backend, candidates = backends.require(TARGET, FP32.name), []
    precisions = [one for one in PRECISIONS if optional.precision_obstacle(backend, one.name) is None]
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    with tempfile.TemporaryDirectory() as temporary:
        for variant in VARIANTS:
            fused = fuse(random_model(variant))
            graph = onnx_graph.export(in_form(choose(fused, "auto", auto=backends.default_form(TARGET)), ModelIO()))
            for precision in precisions:
                place = Path(temporary) / f"{variant}-{precision}"
                place.mkdir()
                options = LoweringOptions(precision, ModelIO(), backends.complete_options(TARGET, {}))
                artifact = backend.lower(graph, place, options)
                subject = ArtifactInfo(
                    variant,
                    TARGET,
                    precision.name,
                    variant,
                    variant,
                    (224, 224),
                    weights="random",
                    lowering="" if variant == "swin_tiny" else backends.default_form(TARGET),
                    macs=macs_of(fused, 1),
                    artifact_bytes=sum(file.stat().st_size for file in place.iterdir()),
                    computed=optional.dtype_stats(backend, artifact.path, artifact.settings).computed,
                )
                feeds = {graph.inputs[0].name: images}
                candidates.append(latency.Candidate(subject, artifact.path, artifact.settings, feeds))
        plan = BenchPlan(rounds=rounds, calls=CALLS, threads=THREADS, profile=True, roofline=True)
        return latency.measure(candidates, plan)


def main(rounds: int = ROUNDS) -> None:
    """Print the tables in Markdown."""
    result = measured(rounds)
    machine, peaks = result.environment, result.peaks
    print(f"## {machine.cpu} ({' '.join(machine.flags)}), {THREADS} threads, {rounds} interleaved rounds\n")
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
        print(f"| {variant} {precision} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
