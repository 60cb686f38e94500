"""Is slide attention fast? Slide-Swin-T beside Swin-T, beside what upstream's code exports to, beside Im2Col.

python -m tests.benchmarks.speed [ROUNDS]
"""

import io
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import torch
from torch import nn

from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.plan import BenchPlan
from slide_export.benchmark.profile import by_kind
from slide_export.benchmark.tune import HalfBlock
from slide_export.core.artifact import ModelIO
from slide_export.core.graph import OnnxGraph, TensorSpec
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchmarkResult
from slide_export.core.model import Model, Provenance
from slide_export.core.precision import FP32
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.forms import FORMS, NATIVE
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from slide_export.models import ALL, family_of
from slide_export.models.slide_attention import SlideAttention
from tests.benchmarks.upstream_order import in_upstream_order

TARGETS = ("onnx", "openvino")
ROUNDS, CALLS, FORM_CALLS, THREADS = 15, 2, 5, 2
OURS, SWIN, IM2COL = "Slide-Swin-T", "Swin-T", "Im2Col-Swin-T"
SLIDE_AS_IS, SWIN_AS_IS, WINDOW_7 = "Slide-Swin-T as it is", "Swin-T as it is", "Slide-Swin-T, window 7"
GOALS = (
    (OURS, SWIN, (1.00, 1.00)),
    (OURS, SLIDE_AS_IS, (0.70, 0.50)),
    (OURS, IM2COL, (0.45, 0.75)),
    (SWIN, SWIN_AS_IS, (0.95, 0.95)),
    (WINDOW_7, SWIN, (None, None)),
)
SHARE = 0.80


def random_model(variant: str, **changes: object) -> Model:
    """A variant with random weights."""
    family = family_of(variant, ALL)
    config = family.variants[variant]
    config = type(config)(**{**vars(config), **changes})
    torch.manual_seed(0)
    module = family.build(config).eval().requires_grad_(False)
    return Model(module, family.name, variant, config, family.read_data(None, config), Provenance(Path(), "", "raw"))


def as_it_is(module: nn.Module) -> OnnxGraph:
    """What torch.onnx.export and onnxsim make of a module, batch 1."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, 3, 224, 224)
        names = {"input_names": ["images"], "output_names": ["logits"]}
        torch.onnx.export(module, (example,), buffer, dynamo=False, opset_version=17, **names)  # type: ignore[arg-type]
    proto, _ = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    images, logits = TensorSpec("images", "float32", (1, 3, 224, 224)), TensorSpec("logits", "float32", (1, 1000))
    return OnnxGraph(proto, (images,), (logits,))


def best(model: Model, target: str, *, ships: bool = True, batch: int | None = None) -> OnnxGraph:
    """What slide-export makes of a model for a target.

    Args:
        batch: fixed size of it; None leaves it dynamic.
        ships: False for a model that is only measured.
    """
    auto, sampling = backends.default_form(target), backends.default_sampling(target)
    inference = choose(fuse(model), "auto", auto=auto, sampling=sampling)
    return onnx_graph.export(in_form(inference, ModelIO(batch=batch)), ships=ships)


def graphs(target: str) -> dict[str, OnnxGraph]:
    """Every contestant's graph for a target."""
    slide, swin = random_model("slide_swin_tiny"), random_model("swin_tiny")
    im2col, published = random_model("im2col_swin_tiny"), random_model("slide_swin_tiny", window=(7, 7))
    return {
        OURS: best(slide, target),
        SWIN: best(swin, target),
        SLIDE_AS_IS: as_it_is(in_upstream_order(slide.module)),
        SWIN_AS_IS: as_it_is(in_upstream_order(swin.module)),
        IM2COL: best(im2col, target, ships=False),
        WINDOW_7: best(published, target),
    }


def sitting(
    target: str,
    contestants: dict[str, OnnxGraph],
    images: np.ndarray,
    rounds: int,
    calls: int,
    *,
    profile: bool = False,
) -> BenchmarkResult:
    """The contestants' times in interleaved rounds.

    Args:
        images: what each of them is given, under its input's name.
    """
    backend, candidates = backends.load(target), []
    with tempfile.TemporaryDirectory() as temporary:
        for name, graph in contestants.items():
            place = Path(temporary) / name.replace(" ", "-")
            place.mkdir()
            interface = ModelIO(batch=1 if graph.inputs[0].shape[0] == 1 else None)
            artifact = backend.lower(
                graph, place, LoweringOptions(FP32, interface, backends.complete_options(target, {}))
            )
            subject = ArtifactInfo(name, target, "fp32", "", "", (images.shape[1], images.shape[2]), weights="random")
            feeds = {graph.inputs[0].name: images}
            candidates.append(latency.Candidate(subject, artifact.path, artifact.settings, feeds))
        return latency.measure(candidates, BenchPlan(rounds=rounds, calls=calls, threads=THREADS, profile=profile))


def ratio(a: ArtifactTiming, b: ArtifactTiming) -> float:
    """The median over the rounds of a's time over b's within the round."""
    pairs = zip(a.rounds_ms, b.rounds_ms, strict=True)
    return float(np.median([np.median(x) / np.median(y) for x, y in pairs]))


def forms(target: str, side: int, channels: int, heads: int, rounds: int) -> dict[str, float]:
    """Milliseconds of half a block in each form: what `--tune` measures."""
    torch.manual_seed(0)
    layer, example = SlideAttention(channels, heads).eval().fuse(), torch.randn(2, side, side, channels)
    contestants = {
        name: onnx_graph.export_module(HalfBlock(lower(layer), channels).eval(), (example,), ("images",), ("out",))
        for name, lower in FORMS.items()
        if name != NATIVE  # which needs a library: tests.benchmarks.native
    }
    result = sitting(target, contestants, np.asarray(example[:1]), rounds, FORM_CALLS)
    return {run.subject.name: run.p50_ms.value for run in result.runs}


def main(rounds: int = ROUNDS) -> None:
    """Print the tables in Markdown."""
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    results = {target: sitting(target, graphs(target), images, rounds, CALLS) for target in TARGETS}
    by_name = {target: {run.subject.name: run for run in result.runs} for target, result in results.items()}
    print(f"## Slide-Swin-T 224x224, batch 1, fp32, {THREADS} threads, medians of {rounds} interleaved rounds\n")
    print("| ms | " + " | ".join(TARGETS) + " |\n|---|---|---|")
    for name in by_name["onnx"]:
        print(f"| {name} | " + " | ".join(f"{by_name[t][name].p50_ms.value:.1f}" for t in TARGETS) + " |")
    print("\n| paired ratio | onnx | goal | openvino | goal |\n|---|---|---|---|---|")
    for a, b, goals in GOALS:
        cells = (
            f"{ratio(by_name[t][a], by_name[t][b]):.2f} | {'' if goal is None else f'≤ {goal:.2f}'}"
            for t, goal in zip(TARGETS, goals, strict=True)
        )
        print(f"| {a} over {b} | " + " | ".join(cells) + " |", flush=True)
    for target in TARGETS:
        contestants = {name: graph for name, graph in graphs(target).items() if name in (OURS, SWIN)}
        for run in sitting(target, contestants, images, 3, CALLS, profile=True).runs:
            kinds = by_kind(run.profile)
            total = sum(kinds.values())
            told = ", ".join(f"{kind} {ms / total:.0%}" for kind, ms in sorted(kinds.items(), key=lambda x: -x[1]))
            print(f"\n{run.subject.name}, {target}: {told} (goal: gemm at least {SHARE:.0%})", flush=True)
    print("\n## Half a slide block, x + attention(LayerNorm(x)), ms\n")
    print("| form | " + " | ".join(f"{t} 56², C 96 | {t} 28², C 192" for t in TARGETS) + " |\n|---|---|---|---|---|")
    shapes = ((56, 96, 3), (28, 192, 6))
    times = [forms(target, *shape, rounds) for target in TARGETS for shape in shapes]
    for name in times[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in times) + " |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
