"""What loading a checkpoint costs: Swin-L as transformers saves it, in four shards, beside what no loader can avoid.

    python -m tests.benchmarks.loading                      # makes the folder, measures both in interleaved rounds
    python -m tests.benchmarks.loading ours|least FOLDER    # one of them, in this process

The least that a loader must do: sha256 of the files, safetensors' own load, and one pass over the tensors for NaN. Both
start with everything imported; memory counts from there.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from slide_export.checkpoint.load import load_checkpoint
from tests.exporter.checkpoint.libraries import library, quiet

ROUNDS = 7
MIB = 2**20


def save_swin_large(folder: Path) -> int:
    """Save a random Swin-L in four shards; the bytes of its weights."""
    transformers = library("transformers")
    config = transformers.SwinConfig(embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], num_labels=1000)
    torch.manual_seed(0)
    with quiet():
        transformers.SwinForImageClassification(config).save_pretrained(folder, max_shard_size="220MB")
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def least(folder: Path) -> object:
    """Hash, load and look at every tensor."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        tensors.update(safetensors.torch.load_file(path))
    assert all(bool(tensor.sum().isfinite()) for tensor in tensors.values() if tensor.is_floating_point())
    return tensors


def memory(name: str) -> float:
    """A line of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measure(work: Callable[[Path], object], folder: Path) -> dict[str, float]:
    """Seconds of one call, and its peak memory above the start, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before, start = memory("VmRSS"), time.perf_counter()
    kept = work(folder)
    seconds, peak = time.perf_counter() - start, memory("VmHWM") - before
    del kept
    return {"seconds": seconds, "peak_mib": peak}


WORK: dict[str, Callable[[Path], object]] = {"ours": load_checkpoint, "least": least}


def main() -> None:
    """Print the table in Markdown, or one measurement as JSON."""
    if len(sys.argv) == 3:
        torch.set_num_threads(1)
        print(json.dumps(measure(WORK[sys.argv[1]], Path(sys.argv[2])), allow_nan=False))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "swin-large"
        size = save_swin_large(folder) / MIB
        os.sync()  # else the system writes the shards back while they are read
        shards = len(list(folder.glob("*.safetensors")))
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in WORK}
        for _ in range(ROUNDS):
            for name, found in seen.items():
                command = [sys.executable, "-m", "tests.benchmarks.loading", name, str(folder)]
                found.append(json.loads(subprocess.check_output(command)))
    print(f"## Swin-L in {shards} shards ({size:.0f} MiB), medians of {ROUNDS} interleaved rounds\n")
    print("| | seconds | peak MiB above the start | of the size |\n|---|---|---|---|")
    for name, found in seen.items():
        seconds, peak = (statistics.median(one[key] for one in found) for key in ("seconds", "peak_mib"))
        print(f"| {name} | {seconds:.2f} | {peak:.0f} | {peak / size:.2f} |")
    ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(seen["ours"], seen["least"], strict=True))
    print(f"\nOurs takes {ratio:.2f} of the least, the median over the rounds.")


if __name__ == "__main__":
    main()
