"""What the proof costs: checkpoint to verified bundle, beside a bare export that proves nothing."""

import tempfile
from pathlib import Path

import torch

from slide_export.models import family_of
from tests.benchmarks.process import interleave, run_once

ROUNDS = 3


def save_random(variant: str, directory: Path) -> Path:
    """A checkpoint of the variant with random weights."""
    torch.manual_seed(0)
    family = family_of(variant)
    path = directory / f"{variant}.pth"
    torch.save({"model": family.build(family.variants[variant]).state_dict()}, path)
    return path


def main() -> None:
    """Print the tables in Markdown."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        tiny, base = save_random("slide_swin_tiny", out), save_random("slide_swin_base", out)

        def ours(path: Path, target: str = "onnx") -> list[str]:
            return ["-m", "slide_export", str(path), "--target", target, "--out", str(out), "--overwrite"]

        def bare(exporter: str) -> list[str]:
            return ["-m", "tests.benchmarks.bare_export", str(tiny), "slide_swin_tiny", str(out), exporter]

        costs = interleave(
            {
                "torch.onnx.export (default: dynamo) + onnxsim": bare("dynamo"),
                "torch.onnx.export (dynamo=False) + onnxsim": bare("torchscript"),
                "slide-export --target onnx, proof included": ours(tiny),
            },
            ROUNDS,
        )
        last = costs["slide-export --target onnx, proof included"]
        print(f"## Slide-Swin-T to ONNX, medians of {ROUNDS} interleaved rounds\n")
        print("| | seconds | peak MiB | ours takes | ours peaks |\n|---|---|---|---|---|")
        for name, cost in costs.items():
            time_ratio, peak_ratio = last.seconds / cost.seconds, last.peak_mib / cost.peak_mib
            print(f"| {name} | {cost.seconds:.1f} | {cost.peak_mib:.0f} | {time_ratio:.2f} x | {peak_ratio:.2f} x |")
        print("\n## One round each\n\n| | seconds | peak MiB |\n|---|---|---|")
        for name, command in {"Slide-Swin-B to ONNX": ours(base), "Slide-Swin-T to all": ours(tiny, "all")}.items():
            cost = run_once(command)
            print(f"| {name} | {cost.seconds:.1f} | {cost.peak_mib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
