"""What does form native gain? Half a block beside the portable forms, and whole models beside their parents.

    python -m tests.benchmarks.native [ROUNDS] [TARGET ...]

Random weights cost the same; int8 is calibrated on the bundled photographs. ONNX Runtime is measured where
ONNXRUNTIME_HEADERS names the folder of its C API. Goal: each slide model at most its parent, in each precision.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from slide_export.backends import registry as backends
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.plan import BenchPlan
from slide_export.benchmark.profile import by_group
from slide_export.benchmark.roofline import roofline
from slide_export.benchmark.tune import HalfBlock
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult
from slide_export.core.precision import FP32
from slide_export.graph import export as onnx_graph
from slide_export.inference.forms import FORMS, NATIVE
from slide_export.models.slide_attention import SlideAttention
from tests.benchmarks.limits import Contestant, candidates, lowered
from tests.benchmarks.speed import ratio
from tests.native import HEADERS

TARGETS = ("openvino", "onnx")
PAIRS = (
    ("slide_swin_tiny", "swin_tiny"),
    ("slide_pvt_tiny", "pvt_tiny"),
    ("slide_pvt_v2_b1", "pvt_v2_b1"),
)
BLOCKS = ((56, 96, 3), (28, 192, 6), (56, 64, 1), (28, 128, 2))  # side, channels, heads
PORTABLE = {"openvino": ("token_taps", "summed_taps"), "onnx": ("taps", "wide_shifts")}  # the two best of each
ROUNDS, CALLS, BLOCK_CALLS, THREADS = 15, 2, 10, 2


def options(target: str) -> dict[str, str]:
    """What form native needs of the user."""
    return {"headers": str(HEADERS)} if target == "onnx" else {}


def blocks(target: str, side: int, channels: int, heads: int, rounds: int) -> BenchmarkResult:
    """Half a block, x + attention(LayerNorm(x)), in the best portable forms and in form native."""
    torch.manual_seed(0)
    layer, example = SlideAttention(channels, heads).eval().fuse(), torch.randn(2, side, side, channels)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for form in (*PORTABLE[target], NATIVE):
            module = HalfBlock(FORMS[form](layer), channels).eval()
            graph = onnx_graph.export_module(module, (example,), ("images",), ("out",))
            subject = ArtifactInfo(form, target, "fp32", "", "", (side, side), weights="random", lowering=form)
            given = np.asarray(example[:1])
            found.append(lowered(backends.load(target), subject, graph, FP32, given, Path(temporary), options(target)))
        return latency.measure(found, BenchPlan(rounds=rounds, calls=BLOCK_CALLS, threads=THREADS))


def models(target: str, slide: str, parent: str, room: Path) -> Iterator[latency.Candidate]:
    """A slide model in the target's own form and in form native, and its parent, in every precision of this machine."""
    found = [Contestant(f"{slide} {form}", slide, form) for form in (backends.default_form(target), NATIVE)]
    return candidates(target, [*found, Contestant(parent, parent, "")], room, options(target))


def show(target: str, rounds: int) -> None:
    """Print a target's tables in Markdown."""
    print(f"## {target}: half a slide block, ms, {THREADS} threads, medians of {rounds} interleaved rounds\n")
    names = (*PORTABLE[target], NATIVE)
    print(f"| | {' | '.join(names)} | native over the best |\n|---|{'---|' * (len(names) + 1)}")
    for side, channels, heads in BLOCKS:
        runs = {run.subject.name: run for run in blocks(target, side, channels, heads, rounds).runs}
        most = max(ratio(runs[NATIVE], runs[name]) for name in PORTABLE[target])  # over the fastest of them
        cells = [*(f"{runs[name].p50_ms.value:.2f}" for name in names), f"{most:.2f}"]
        print(f"| {side}², C {channels}, {heads} heads | {' | '.join(cells)} |", flush=True)
    print(f"\n## {target}: whole models at 224x224, batch 1\n")
    print("| | ms | of the parent | of the portable form | × of the limit | where |\n|---|---|---|---|---|---|")
    for slide, parent in PAIRS:
        with tempfile.TemporaryDirectory() as temporary:
            plan = BenchPlan(rounds=rounds, calls=CALLS, threads=THREADS, profile=True, roofline=True)
            result = latency.measure(list(models(target, slide, parent, Path(temporary))), plan)
        _show_models(result, f"{slide} {backends.default_form(target)}", parent)


def _show_models(result: BenchmarkResult, portable: str, parent: str) -> None:
    runs = {(run.subject.name, run.subject.precision): run for run in result.runs}
    for (name, precision), run in runs.items():
        limit = roofline(run, result.peaks)
        far = "-" if limit is None else f"{limit.factor:.2f}"
        beside = [ratio(run, runs[other, precision]) for other in (parent, portable)]
        where = ", ".join(f"{group} {ms:.1f}" for group, ms in by_group(run).items())
        print(
            f"| {name} {precision} | {run.p50_ms.value:.1f} | {' | '.join(f'{one:.2f}' for one in beside)} | {far} "
            f"| {where} |",
            flush=True,
        )


def main(rounds: str = str(ROUNDS), *targets: str) -> None:
    """Print two tables a target."""
    here = [target for target in TARGETS if target != "onnx" or (HEADERS / "onnxruntime_c_api.h").is_file()]
    for target in targets or here:
        show(target, int(rounds))
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
