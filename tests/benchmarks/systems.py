"""Are the other systems as fast as what PyTorch's default exporter and onnxsim make of them? The smallest of each.

python -m tests.benchmarks.systems [ROUNDS [VARIANT ...]]

The contestant is the train-time module, whose operators are upstream's, exported as it stands: BatchNorm, scales, table
lookups and GridSample included. Both graphs have the batch fixed at 1 and get the same image, in interleaved rounds, so
that their ratio is paired. A dynamic batch cost OpenVINO a sixth of MViTv2's time.
"""

import io
import sys
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import onnxsim
import torch

from slide_export.core.graph import OnnxGraph
from slide_export.core.model import Model
from slide_export.graph.export import specs
from tests.benchmarks.speed import CALLS, THREADS, best, random_model, ratio, sitting

TARGETS = ("onnx", "openvino")
ROUNDS = 10
GOAL = 1.00
SMALLEST = (
    *("twins_pcpvt_small", "twins_svt_small"),
    *("dat_tiny", "dat_pp_tiny"),
    *("mvitv2_tiny", "cbam_resnet18", "gam_resnet18_a"),
)
OURS, PEER = "ours", "dynamo exporter + onnxsim"


def exported_as_it_is(model: Model) -> OnnxGraph:
    """What the default exporter and onnxsim make of a train-time module, batch 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, 3, *model.image_size)
        program = torch.onnx.export(model.module, (example,), dynamo=True, verbose=False)
    buffer = io.BytesIO()
    program.save(buffer)  # type: ignore[union-attr]  # a program, where dynamo is asked for
    proto, _ = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    return OnnxGraph(proto, specs(proto.graph.input), specs(proto.graph.output))


def refuse_other_function(graphs: Sequence[OnnxGraph], image: np.ndarray) -> None:
    """Refuse to time graphs that do not compute the same: their ratio would mean nothing."""
    import onnxruntime

    found = []
    for graph in graphs:
        session = onnxruntime.InferenceSession(graph.proto.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(session.run(None, {graph.inputs[0].name: image})[0])
    if not np.abs(found[0] - found[1]).max() <= 1e-4 * np.std(found[1]):  # float32, other orders of sums
        raise ValueError("expected two graphs of one function, found logits that differ")


def main(rounds: int = ROUNDS, variants: Sequence[str] = SMALLEST) -> None:
    """Print the table in Markdown."""
    print(f"## Other systems, batch 1, fp32, {THREADS} threads, medians of {rounds} interleaved rounds")
    print(f"\nGoal of the paired ratio: {GOAL:.2f}.\n")
    print("| variant | " + " | ".join(f"{t}: ours, ms | as it is, ms | paired ratio" for t in TARGETS) + " |")
    print("|---" * (1 + 3 * len(TARGETS)) + "|", flush=True)
    for variant in variants:
        model = random_model(variant)
        image = np.random.default_rng(0).standard_normal((1, 3, *model.image_size), dtype=np.float32)
        peer, cells = exported_as_it_is(model), []
        for target in TARGETS:
            contestants = {OURS: best(model, target, batch=1), PEER: peer}
            refuse_other_function(tuple(contestants.values()), image)
            ours, as_it_is = sitting(target, contestants, image, rounds, CALLS).runs
            cells.append(f"{ours.p50_ms.value:.1f} | {as_it_is.p50_ms.value:.1f} | {ratio(ours, as_it_is):.2f}")
        print(f"| `{variant}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *([sys.argv[2:]] if sys.argv[2:] else []))
