"""Is our artifact faster than every other way that a user has? The smallest variant of each family and its parent.

    python -m tests.benchmarks.peers [ROUNDS [VARIANT ...]]

The other ways: PyTorch as it is, `torch.compile`, `openvino.convert_model` of the trained module, made static, and
`torch.onnx.export(dynamo=True)` under ONNX Runtime, with its optimizer of transformers before it. Ours are loaded as a
user loads them, without our code. Each is a process of its own that computes only when asked, so that rounds interleave
and ratios are paired; fp32, batch 1. Goal: 0.60 of the best other way for Slide-Swin-T, below 1 for every family.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from slide_export.benchmark.process import Process
from slide_export.core.errors import MeasurementError
from slide_export.core.model import Model

from .speed import THREADS, random_model

ROUNDS, CALLS, UNTIMED = 10, 3, 1
PAIRS = (
    *("slide_swin_tiny", "swin_tiny"),
    *("slide_pvt_tiny", "pvt_tiny"),
    *("slide_pvt_v2_b1", "pvt_v2_b1"),
    *("slide_cswin_tiny", "cswin_tiny"),
    *("slide_nat_mini", "nat_mini"),
)
WORK = (sys.executable, "-m", "tests.benchmarks.peers", "work")
Call = Callable[[], object]


def eager(model: Model, image: np.ndarray, _room: Path) -> Call:
    """The trained module as it is."""
    given = torch.from_numpy(image)
    return lambda: model.module(given)


def compiled(model: Model, image: np.ndarray, _room: Path) -> Call:
    """By torch.compile, with its defaults."""
    module, given = torch.compile(model.module), torch.from_numpy(image)
    return lambda: module(given)


def converted(model: Model, image: np.ndarray, _room: Path) -> Call:
    """By OpenVINO's own converter, with a static shape."""
    import openvino

    graph = openvino.convert_model(model.module, example_input=torch.from_numpy(image))
    graph.reshape(list(image.shape))
    return _in_openvino(graph, image)


def dynamo(model: Model, image: np.ndarray, room: Path) -> Call:
    """By PyTorch's exporter, then ONNX Runtime's optimizer of transformers."""
    from onnxruntime.transformers import optimizer

    made, optimized = room / "dynamo.onnx", room / "optimized.onnx"
    torch.onnx.export(model.module, (torch.from_numpy(image),), made, dynamo=True, verbose=False)
    optimizer.optimize_model(str(made), model_type="vit", opt_level=0).save_model_to_file(str(optimized))
    return _in_onnxruntime(optimized, image)


def ours_onnx(model: Model, image: np.ndarray, room: Path) -> Call:
    """Our artifact for ONNX Runtime, as it ships."""
    return _in_onnxruntime(_lowered(model, "onnx", room), image)


def ours_openvino(model: Model, image: np.ndarray, room: Path) -> Call:
    """Our artifact for OpenVINO, as it ships."""
    return _in_openvino(_lowered(model, "openvino", room), image)


WAYS = {
    "PyTorch": eager,
    "torch.compile": compiled,
    "OpenVINO's converter": converted,
    "dynamo + ONNX Runtime": dynamo,
    "ours, ONNX Runtime": ours_onnx,
    "ours, OpenVINO": ours_openvino,
}
OURS = ("ours, ONNX Runtime", "ours, OpenVINO")


def _lowered(model: Model, target: str, room: Path) -> Path:
    from slide_export.backends import registry as backends
    from slide_export.backends.interface import LoweringOptions
    from slide_export.core.artifact import ModelIO
    from slide_export.core.precision import FP32

    from .speed import best

    options = LoweringOptions(FP32, ModelIO(), backends.complete_options(target, {}))
    return backends.load(target).lower(best(model, target), room, options).path


def _in_onnxruntime(path: Path, image: np.ndarray) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, feeds)


def _in_openvino(graph: object, image: np.ndarray) -> Call:
    import openvino

    asked = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    request = openvino.Core().compile_model(graph, "CPU", asked).create_infer_request()
    return lambda: request.infer([image])


def work(way: str, variant: str) -> None:
    """Load one way in this process, then answer each question with the milliseconds of so many calls."""
    answers = os.fdopen(os.dup(1), "w")  # what a library prints is no answer
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    model = random_model(variant)
    image = np.random.default_rng(0).standard_normal((1, 3, *model.image_size), dtype=np.float32)
    with tempfile.TemporaryDirectory() as room, torch.inference_mode():
        call = WAYS[way](model, image, Path(room))
        for _ in range(UNTIMED + CALLS):
            call()
        print(json.dumps({"loaded": way}, allow_nan=False), file=answers, flush=True)
        for line in sys.stdin:
            call()  # wakes its threads
            times = []
            for _ in range(json.loads(line)["calls"]):
                start = time.perf_counter()
                call()
                times.append((time.perf_counter() - start) * 1e3)
            print(json.dumps({"ms": times}, allow_nan=False), file=answers, flush=True)


def row(variant: str, rounds: int) -> str:
    """A row of the table: medians, and each of ours over the best other way, paired within the rounds."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        loaded, failed = dict[str, Process](), dict[str, str]()
        for way in WAYS:
            process = stack.enter_context(Process(way, (*WORK, way, variant), None, None))
            try:
                process.answer()
                loaded[way] = process
            except MeasurementError as error:  # that way has no such model
                failed[way] = str(error)
        for index in range(rounds):
            for way, process in list(loaded.items())[:: 1 if index % 2 else -1]:
                times[way].append(statistics.median(process.ask({"calls": CALLS})["ms"]))
    medians = {way: statistics.median(times[way]) for way in loaded}
    other = min((way for way in medians if way not in OURS), key=medians.__getitem__)
    cells = [f"{medians[way]:.1f}" if way in medians else failed[way] for way in WAYS]
    over = [
        statistics.median(a / b for a, b in zip(times[way], times[other], strict=True)) for way in OURS if way in loaded
    ]
    return f"| `{variant}` | {' | '.join(cells)} | {other} | {' | '.join(f'{one:.2f}' for one in over)} |"


def main(rounds: int = ROUNDS, variants: Sequence[str] = PAIRS) -> None:
    """Print the table in Markdown."""
    print(f"## Other ways, batch 1, fp32, {THREADS} threads, ms, medians of {rounds} interleaved rounds\n")
    print(f"| variant | {' | '.join(WAYS)} | best other way | {' | '.join(f'{one}, over it' for one in OURS)} |")
    print("|---" * (len(WAYS) + 2 + len(OURS)) + "|", flush=True)
    for variant in variants:
        print(row(variant, rounds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:4])
    else:
        main(*map(int, sys.argv[1:2]), *([sys.argv[2:]] if sys.argv[2:] else []))
