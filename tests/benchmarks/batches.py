"""Is the speed in the file? OpenVINO's IR of Slide-Swin-T as shipped, reshaped to a batch, and of a dynamic batch.

    python -m tests.benchmarks.batches [ROUNDS]

The file is loaded as a user loads it: `core.compile_model("model.xml", "CPU", config)`, `read_model` and `reshape` for
another batch. Calls are interleaved; a ratio is the median over the rounds of the ratio within one.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import ModelIO
from slide_export.core.precision import FP32
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from tests.benchmarks.speed import random_model

BATCHES, ROUNDS, THREADS = (1, 4, 8), 20, 2
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
SHAPE = (3, 224, 224)


def written(directory: Path, variant: str = "slide_swin_tiny") -> Path:
    """The IR of a variant with random weights, as a bundle has it."""
    model = choose(fuse(random_model(variant)), "auto", auto=backends.default_form("openvino"))
    options = LoweringOptions(FP32, ModelIO(), backends.complete_options("openvino", {}))
    graph = onnx_graph.export(in_form(model, ModelIO()))
    return Path(backends.load("openvino").lower(graph, directory, options).path)


def compiled(path: Path, batch: int) -> dict[str, Any]:
    """The file in each form that takes this batch."""
    core = openvino.Core()

    def reshaped(size: int) -> Any:
        """The model with a batch of this size, -1 for a dynamic one."""
        model = core.read_model(path)
        model.reshape([size, *SHAPE])
        return core.compile_model(model, "CPU", CONFIG)

    forms = {"as shipped": core.compile_model(path, "CPU", CONFIG)} if batch == 1 else {}
    return {**forms, "static": reshaped(batch), "dynamic": reshaped(-1)}


def interleaved(forms: dict[str, Any], batch: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a call of each, a round at a time; one more call before, which allocates."""
    images = np.random.default_rng(0).standard_normal((batch, *SHAPE), dtype=np.float32)
    ms: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, model in forms.items():
            start = time.perf_counter()
            model({"images": images})
            ms[name].append((time.perf_counter() - start) * 1e3)
    return {name: times[1:] for name, times in ms.items()}


def main(rounds: int = ROUNDS) -> None:
    """Print the table in Markdown."""
    print(f"## Slide-Swin-T, OpenVINO fp32, {THREADS} threads, {rounds} interleaved rounds\n")
    print("| batch | form | ms | over static |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        path = written(Path(temporary))
        for batch in BATCHES:
            ms = interleaved(compiled(path, batch), batch, rounds)
            for name, times in ms.items():
                ratio = statistics.median(a / b for a, b in zip(times, ms["static"], strict=True))
                print(f"| {batch} | {name} | {statistics.median(times):.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
