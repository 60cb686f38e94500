"""Which form of slide attention each target runs fastest: the measurement behind `lowering.choose.AUTO`."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from slide_export import export
from slide_export.backends import load
from slide_export.lowering import FORMS

from .export_cost import save_random

ROUNDS, CALLS = 15, 2
TARGETS = ("onnx", "openvino", "coreml")  # coreml: our evaluator, which says nothing about a device


def main() -> None:
    """Prints the table in Markdown."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        slide, swin = save_random("slide_swin_tiny", out), save_random("swin_tiny", out)
        print(f"## Slide-Swin-T 224x224, batch 1, fp32, ms: medians of {ROUNDS} interleaved rounds of {CALLS} calls\n")
        print("| target | " + " | ".join(FORMS) + " | Swin-T |\n|---|" + "---|" * (len(FORMS) + 1))
        for target in TARGETS:
            bundles = {form: export(slide, target, lowering=form, name=form, out=out, image_count=1) for form in FORMS}
            bundles["swin"] = export(swin, target, out=out, image_count=1)
            sessions = {}
            for name, bundle in bundles.items():
                artifact = bundle.manifest["artifact"]
                sessions[name] = load(target).Session(bundle.path / artifact["path"], artifact["settings"])
            times = measure(sessions)
            label = "CoreML evaluator on this CPU" if target == "coreml" else target
            print(f"| {label} | " + " | ".join(f"{times[name]:.1f}" for name in sessions) + " |", flush=True)


def measure(sessions: dict[str, object]) -> dict[str, float]:
    """Returns the median milliseconds of a call of each session, in interleaved rounds."""
    feeds = {"images": np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)}
    seen: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(ROUNDS + 2):  # the first two warm up
        for name, session in sessions.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                session.run(feeds)  # type: ignore[attr-defined]
            if turn >= 2:
                seen[name].append((time.perf_counter() - start) / CALLS * 1e3)
    return {name: statistics.median(values) for name, values in seen.items()}


if __name__ == "__main__":
    main()
