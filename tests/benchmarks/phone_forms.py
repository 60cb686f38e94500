"""Which form of slide attention is fastest under a phone's runtime? One bundle a form, interleaved.

    python -m tests.benchmarks.phone_forms prepare DIRECTORY [TARGET ...]    exports what is missing there; minutes
    python -m tests.benchmarks.phone_forms DIRECTORY [ROUNDS [THREADS]]      Markdown of all that is there

The model has the two stages of Slide-Swin-T that slide, and one block of each of the others: lowering all twelve takes
ExecuTorch three times as long. Forms with a multiplier of k*k are left out: XNNPACK and ncnn take twice the time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from slide_export.bundle import store
from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.workflows import export as pipeline
from tests.benchmarks.machine import machine
from tests.benchmarks.phones import interleave, table
from tests.conftest import randomise

FORMS = ("shifts", "wide_shifts", "taps", "pointwise_taps", "token_taps", "summed_taps", "gemm_per_tap")
TARGETS = ("executorch", "ncnn")
ROUNDS = 20
CUT = SwinConfig(
    embed_dim=96, depths=(2, 2, 1, 1), heads=(3, 6, 12, 24), window=(7, 7), image_size=(224, 224), slide_stages=2
)


def export(directory: Path, targets: Sequence[str]) -> None:
    """Export what is not in a directory yet, batch 1."""
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / "cut.pth"
    torch.manual_seed(0)
    torch.save({"model": randomise(SwinTransformer(CUT)).state_dict()}, checkpoint)
    for target in targets:
        for form in FORMS:
            name = f"{target}-{form}"
            if not (directory / name).exists():
                io = ModelIO(batch=1)
                asked = ExportRequest(
                    checkpoint, target, form=form, out=directory, name=name, image_count=1, interface=io
                )
                pipeline.export(asked)
                print(name, flush=True)


def main(directory: Path, rounds: int = ROUNDS, threads: int = 1) -> None:
    """Print a table of each target in Markdown."""
    bundles = [path.parent for path in directory.glob("*/manifest.json")]
    print(f"Measured on {machine()}: {threads} threads, {rounds} interleaved rounds; ratios to `{FORMS[0]}`.")
    for target in TARGETS:
        of = [path for path in bundles if path.name.startswith(f"{target}-")]
        outside = {path.name: _outside(path) for path in of}
        print(
            f"\n| {target} | wall ms | processor ms | wall | processor | operators outside |\n|---|---|---|---|---|---|"
        )
        for row in table(interleave(of, rounds, threads), f"{target}-{FORMS[0]}"):
            print(f"{row} {outside[row.split()[1]]} |", flush=True)


def _outside(path: Path) -> str:
    """Operators that no part of an ExecuTorch program runs."""
    counts = store.read(path).manifest.artifact.settings.get("outside")
    return str(sum(counts.values())) if isinstance(counts, dict) else ""


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        export(Path(sys.argv[2]), sys.argv[3:] or TARGETS)
    else:
        main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
