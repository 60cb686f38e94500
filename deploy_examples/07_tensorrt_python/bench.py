"""A bundle of slide-export on an NVIDIA GPU: builds its engine, proves it, measures it.

    python bench.py BUNDLE [--batch 1,8] [-o result.json]
    python bench.py BUNDLE --build-only [--plan model.plan]

The engine is built here from the bundle's own graph, compared with the trained model's outputs that the bundle carries,
and timed with CUDA events. The result is one that `slide-export report` reads. Exit codes: 0 done, 1 not equal to the
trained model, 2 bad input, 3 no TensorRT or no GPU.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from engine import NAMES, Array, BadInputError, Engine, NotHereError, build, cuda, load_vendor
from proof import check, images_of, read_bundle

WINDOW, WINDOWS, DRIFT, WARMUP_CALLS = 4, 3, 0.05, 400  # stable: the medians of 3 windows of 4 calls lie within 5 %
TIMED = "the GPU alone, from event to event around one call; copies are not in it"
DOUBT = "the clocks of the GPU are whatever they were: nvidia-smi --lock-gpu-clocks would hold them"


def warm_up(engine: Engine) -> tuple[int, bool]:
    """The calls that it took until the time was stable, and whether it became so."""
    medians: list[float] = []
    while len(medians) * WINDOW < WARMUP_CALLS:
        medians.append(statistics.median(engine.run() for _ in range(WINDOW)))
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= (1 + DRIFT) * min(last):
            return len(medians) * WINDOW, True
    return len(medians) * WINDOW, False


def measure(engine: Engine, feeds: dict[str, Array], rounds: int, calls: int) -> dict[str, Any]:
    """The times of one batch in milliseconds, as the result's schema names them."""
    engine.bind(feeds)
    first = engine.run()
    warmed, stable = warm_up(engine)
    times = [[engine.run() for _ in range(calls)] for _ in range(rounds)]
    return {"first_ms": first, "warmup_calls": warmed, "stable": stable, "rounds_ms": times, "peak_mib": peak_mib()}


def peak_mib() -> float:
    """The largest resident set of this process; the GPU's memory is not in it."""
    lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def subject_of(bundle: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """What was measured."""
    model, options, precision = manifest["model"], manifest["options"], manifest["precision"]
    form = options["form"] if "form" in options else options["lowering"]  # its name in schema 1
    return {
        **{name: manifest[name] for name in ("name", "target", "parity", "accuracy")},
        "precision": precision["name"] if isinstance(precision, dict) else precision,  # a name alone in schema 1
        **{name: model[name] for name in ("family", "variant", "image_size", "parameters", "macs")},
        "lowering": form if manifest["fusion"] else "",
        "artifact_bytes": manifest["artifact"]["bytes"],
        "manifest_sha256": hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest(),
    }


def environment(device: str, trt: Any) -> dict[str, Any]:
    """The machine that measured."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "device": device,
        "cpu": platform.processor() or platform.machine(),
        "flags": [],
        "cores": os.cpu_count() or 1,
        "memory_mib": pages // 2**20,
        "governor": "",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {trt.__name__: trt.__version__, "numpy": np.__version__},
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "warnings": [DOUBT],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes the result, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        json.dump(content, file, indent=2, allow_nan=False)
    Path(file.name).replace(path)


def run_of(engine: Engine, feeds: dict[str, Array], asked: argparse.Namespace) -> dict[str, Any]:
    """One run of the result; its median is printed."""
    times = measure(engine, feeds, asked.rounds, asked.calls)
    batch = len(next(iter(feeds.values())))
    calls = [ms for each in times["rounds_ms"] for ms in each]
    print(f"batch {batch}: median {statistics.median(calls):.3f} ms of {len(calls)} calls, {TIMED}")
    return {"evaluator": engine.name, "batch": batch, **times}


def bench(asked: argparse.Namespace) -> int:
    """The exit code of a build and, unless that is all, of the proof and the measurement."""
    manifest, golden, graph = read_bundle(asked.bundle)
    began, start = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    trt = load_vendor()
    import_ms = (time.perf_counter() - start) * 1e3
    if asked.timing_cache and trt.__name__ != "tensorrt":
        raise BadInputError("expected TensorRT for --timing-cache: TensorRT for RTX times no kernels, leave it out")
    if not asked.build_only:
        cuda()  # rather before the build than after it
    fixed, tf32 = manifest["options"]["batch"], manifest["artifact"]["settings"]["tf32"]
    batches = (fixed,) if fixed else asked.batch
    plan = build(trt, graph, (1, batches[0], max(batches)), tf32, asked.timing_cache)
    if asked.plan:
        asked.plan.write_bytes(plan)
    print(f"built an engine of {len(plan) / 2**20:.1f} MiB with {NAMES[trt.__name__]} {trt.__version__}")
    if asked.build_only:
        return 0
    start = time.perf_counter()
    engine = Engine(trt, plan)
    load_ms = (time.perf_counter() - start) * 1e3
    if not all(check(engine, manifest, golden, batch) for batch in batches):
        return 1
    runs = [run_of(engine, images_of(manifest, golden, batch), asked) for batch in batches]
    if asked.out:
        settings = {"batches": list(batches), "tf32": tf32, "timed": TIMED}
        same = {"subject": subject_of(asked.bundle, manifest), "settings": settings}
        content = {
            "schema": "slide-export/result/1",
            "measured": began,
            "environment": environment(engine.device, trt),
            "protocol": {"rounds": asked.rounds, "calls": asked.calls, "threads": 1, "affinity": []},
            "runs": [{**same, **run, "import_ms": import_ms, "load_ms": load_ms} for run in runs],
        }
        write(asked.out, content)
        print(asked.out)
    return 0


def number(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text!r}")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in "1,8"."""
    return tuple(dict.fromkeys(map(number, text.split(","))))


def main() -> int:
    """The exit code of the command line."""
    parser = argparse.ArgumentParser(description="Builds, proves and measures a bundle's engine on an NVIDIA GPU.")
    parser.add_argument("bundle", type=Path, help="directory that slide-export --target tensorrt wrote")
    parser.add_argument("--batch", type=numbers, default=(1,), help="1 or 1,8; the engine is tuned for the first")
    parser.add_argument("--rounds", type=number, default=20)
    parser.add_argument("--calls", type=number, default=5, help="in a round")
    parser.add_argument("--timing-cache", type=Path, metavar="FILE", help="kernel timings of earlier builds")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="keep the engine there")
    parser.add_argument("--build-only", action="store_true", help="needs no GPU with TensorRT for RTX")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="the result, JSON")
    try:
        return bench(parser.parse_args())
    except (BadInputError, OSError) as error:  # OSError: a file to write cannot be written
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotHereError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
