"""Is a segmenter around slide attention as fast as one around windows, and as what PyTorch's exporter makes of it?

    python -m tests.benchmarks.dense_speed [ROUNDS]

Goals: Slide-Swin-T with UPerNet over Swin-T with UPerNet at most 1.00 at 512x512, neither slower nor larger than the
trained module through torch.onnx.export (dynamo) and onnxsim. That exporter has no adaptive pooling from 16 to 6: the
pooling alone is replaced by ours. Logits at a quarter of the input on all sides, paired in interleaved rounds.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import torch

from slide_export.core.model import Model, Provenance
from slide_export.models import family_of
from slide_export.models.dense import DENSE, WHOLE_SCENE
from slide_export.models.heads.upernet import AdaptivePool
from tests.benchmarks.speed import CALLS, THREADS, best, ratio, sitting
from tests.benchmarks.systems import exported_as_it_is, refuse_other_function

TARGETS, ROUNDS, SIZE = ("onnx", "openvino"), 10, (512, 512)
SLIDE, SWIN = "slide_swin_tiny_upernet", "swin_tiny_upernet"
AS_IT_IS = f"{SLIDE} as it is"


def random_segmenter(variant: str) -> Model:
    """A variant at 512x512 with random weights."""
    family = family_of(variant, DENSE)
    config = family.variants[variant].at(SIZE)
    torch.manual_seed(0)
    module = family.build(config).eval().requires_grad_(False)
    return Model(module, family.name, variant, config, WHOLE_SCENE, Provenance(Path(), "", "raw"), family.task)


def pooling_apart(model: Model) -> Model:
    """The trained model with its pooling as two products, for an exporter that has no other."""
    module = copy.deepcopy(model.module)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, AdaptivePool):
            parent, _, own = name.rpartition(".")
            module.get_submodule(parent).add_module(own, layer.fuse())
    return Model(module, model.family, model.variant, model.config, model.data, model.provenance, model.task)


def main(rounds: int = ROUNDS) -> None:
    """Print the table in Markdown."""
    slide, swin = random_segmenter(SLIDE), random_segmenter(SWIN)
    peer = exported_as_it_is(pooling_apart(slide))
    image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), dtype=np.float32)
    print(f"## UPerNet at 512x512, batch 1, fp32, {THREADS} threads, medians of {rounds} interleaved rounds\n")
    print("| target | model | ms | MiB | ours over it |\n|---|---|---|---|---|", flush=True)
    for target in TARGETS:
        ours = best(slide, target, batch=1)
        refuse_other_function((ours, peer), image)
        contestants = {SLIDE: ours, SWIN: best(swin, target, batch=1), AS_IT_IS: peer}
        runs = sitting(target, contestants, image, rounds, CALLS).runs
        for run, graph in zip(runs, contestants.values(), strict=True):
            cells = (f"{run.p50_ms.value:.0f}", f"{graph.proto.ByteSize() / 2**20:.0f}", f"{ratio(runs[0], run):.2f}")
            print(f"| {target} | {run.subject.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
