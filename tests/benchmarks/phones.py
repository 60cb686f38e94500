"""How fast are the phones' runtimes beside ONNX Runtime? Bundles of one model, interleaved, wall and processor time.

    python -m tests.benchmarks.phones prepare DIRECTORY [VARIANT ...]    exports what is missing there; minutes
    python -m tests.benchmarks.phones DIRECTORY [ROUNDS [THREADS ...]]   Markdown of all that is there

Each bundle is open in a process of its own, and one of them runs at a time: a runtime whose idle threads wait actively
does so beside nobody. Processor time is that of all threads of the process during its calls.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.backends import registry
from slide_export.bundle import store
from slide_export.calibration.images import bundled
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import SlideExportError
from slide_export.core.request import ExportRequest
from slide_export.workflows.finish import finish
from slide_export.workflows.prepare import prepare
from slide_export.workflows.resolve import resolve
from tests.benchmarks.export_cost import save_random
from tests.benchmarks.machine import machine

TARGETS = ("onnx", "ncnn", "litert", "executorch")
FP32 = tuple((target, "fp32") for target in TARGETS)
SMALLER = (
    *(("executorch", precision) for precision in ("int8-dynamic", "int8", "fp16")),
    *(("litert", precision) for precision in ("int8-dynamic", "w16", "w8", "int8")),
    ("ncnn", "w16"),
)
VARIANTS = {"slide_swin_tiny": FP32 + SMALLER, "swin_tiny": FP32}
ROUNDS, CALLS, THREADS = 10, 2, (1, 2)
BESIDE = "onnx-fp32"
SETTLED_S = 0.05  # longer than idle threads of any of them wait actively


def export(directory: Path, variants: Sequence[str]) -> None:
    """Exports what is not in a directory yet, batch 1; what a proof refuses stays there under its own name."""
    for variant in variants:
        checkpoint = directory / f"{variant}.pth"
        if not checkpoint.exists():
            save_random(variant, directory)
        prepared = None
        for target, precision in VARIANTS[variant]:
            if any((directory / f"{variant}-{target}-{precision}{end}").exists() for end in ("", ".rejected")):
                continue
            io, images = ModelIO(batch=1), bundled().root
            plan = resolve(
                ExportRequest(
                    checkpoint,
                    target,
                    precision,
                    out=directory,
                    variant=variant,
                    images=images,
                    image_count=2,
                    interface=io,
                )
            )
            prepared = prepared or prepare(plan.source)
            start = time.process_time()
            try:
                finish(plan, prepared)
                said = ""
            except SlideExportError as error:
                said = f": {error}"
            print(f"{plan.destination.path.name} {time.process_time() - start:.0f} s of this process{said}", flush=True)


def proofs(bundles: Sequence[Path]) -> Iterator[str]:
    """What each proof found, as rows."""
    for path in bundles:
        made = store.read(path)
        (output,) = made.manifest.parity.outputs
        largest = np.abs(store.golden(made).exact[output.name]).max()
        yield (
            f"| {path.name} | {made.manifest.artifact.bytes / 1e6:.1f} | {output.max_abs / largest:.1e} | "
            f"{output.sqnr_db:.0f} dB | {made.manifest.parity.top1:.0%} | "
            f"{'proved' if made.manifest.parity.passed else 'refused'} |"
        )


def serve(path: Path, threads: int) -> None:
    """One bundle's process: a line in, a line out with wall and processor seconds of a few calls."""
    made = store.read(path)
    artifact = made.manifest.artifact
    backend = registry.load(made.manifest.target)
    session = backend.Session(path / artifact.path, {**artifact.settings, "threads": threads})
    feeds = {name: value[:1] for name, value in store.golden(made).feeds.items()}
    for _ in range(2):
        session.run(feeds)
    print("ready", flush=True)
    for _ in sys.stdin:
        before, start = _spent(), time.perf_counter()
        for _ in range(CALLS):
            session.run(feeds)
        wall = time.perf_counter() - start
        print(json.dumps([wall / CALLS, (_spent() - before) / CALLS], allow_nan=False), flush=True)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def interleave(bundles: Sequence[Path], rounds: int, threads: int) -> Mapping[str, Any]:
    """Seconds by bundle, [rounds, 2]: wall and processor."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    workers = {}
    for path in bundles:
        command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "serve", str(path), str(threads)]
        workers[path.name] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
    seen: dict[str, list[list[float]]] = {name: [] for name in workers}
    for worker in workers.values():
        _answer(worker)
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(SETTLED_S)
            assert worker.stdin is not None
            print("go", file=worker.stdin, flush=True)
            seen[name].append(json.loads(_answer(worker)))
    for worker in workers.values():
        worker.communicate()
    return {name: np.array(times) for name, times in seen.items()}


def _answer(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"{worker.args} ended")
    return line


def table(found: Mapping[str, Any], beside: str) -> Iterator[str]:
    """Rows: medians in ms and the median of the paired ratios to one of them, wall and processor."""
    for name, times in found.items():
        wall, cpu = np.median(times, axis=0) * 1e3
        over = np.median(times / found[beside], axis=0)
        yield f"| {name} | {wall:.1f} | {cpu:.1f} | {over[0]:.2f} | {over[1]:.2f} |"


def main(directory: Path, rounds: int = ROUNDS, threads: Sequence[int] = THREADS) -> None:
    """Print the tables in Markdown."""
    bundles = sorted(path.parent for path in directory.glob("*/manifest.json"))
    print(f"Measured on {machine()}.\n\n| bundle | MB | error, of the largest logit | SQNR | top-1 | proof |")
    print("|---|---|---|---|---|---|", *proofs(bundles), sep="\n", flush=True)
    for count in threads:
        print(f"\n{count} threads, {rounds} interleaved rounds of {CALLS} calls\n", flush=True)
        print("| bundle | wall ms | processor ms | wall over ONNX Runtime | processor over it |\n|---|---|---|---|---|")
        found = interleave(bundles, rounds, count)
        for variant in VARIANTS:
            of = {name: times for name, times in found.items() if name.startswith(f"{variant}-")}
            if of:
                print(*table(of, f"{variant}-{BESIDE}"), sep="\n", flush=True)
        print("\n| Slide-Swin-T over Swin-T | wall | processor |\n|---|---|---|")
        print(*ratios(found, of_parent), sep="\n", flush=True)
        print("\n| smaller precision over its target's fp32 | wall | processor |\n|---|---|---|")
        print(*ratios(found, in_fp32), sep="\n", flush=True)


def of_parent(name: str) -> str:
    """Name of Swin-T's bundle that stands beside one of Slide-Swin-T."""
    slide, parent = VARIANTS
    return name.replace(f"{slide}-", f"{parent}-", 1)


def in_fp32(name: str) -> str:
    """Name of the fp32 bundle of a bundle's target and variant."""
    ends = (f"-{target}-{precision}" for target, precision in SMALLER)
    end = next((end for end in ends if name.endswith(end)), "")
    return f"{name.removesuffix(end)}-{end.split('-')[1]}-fp32" if end else name


def ratios(found: Mapping[str, Any], beside: Callable[[str], str]) -> Iterator[str]:
    """Rows: of each bundle that stands beside another one, the median of the paired ratios, wall and processor."""
    for name, times in found.items():
        other = beside(name)
        if other != name and other in found:
            wall, cpu = np.median(times / found[other], axis=0)
            yield f"| {name} | {wall:.2f} | {cpu:.2f} |"


if __name__ == "__main__":
    word, *rest = sys.argv[1:]
    if word == "prepare":
        export(Path(rest[0]), rest[1:] or tuple(VARIANTS))
    elif word == "serve":
        serve(Path(rest[0]), int(rest[1]))
    else:
        main(Path(word), *map(int, rest[:1]), *([tuple(map(int, rest[1:]))] if rest[1:] else []))
