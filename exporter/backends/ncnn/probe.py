"""A network that pnnx wrote, run once in a process of its own: what ncnn cannot run may crash it without a word.

python probe.py NETWORK INPUTS.npz JOB.json         prints each layer's place before it runs; ends with 0 for any status
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

    from .network import Layer

PROGRAM = (sys.executable, "-I", __file__)
LIMIT_S = 1800


def refuse_crash(path: Path, images: Mapping[str, Array], layers: Sequence[Layer], called: Sequence[Layer]) -> None:
    """Run every layer of a network apart from this process; a status that ncnn gives is the caller's to judge.

    Args:
        called: the layers after their modules.

    Raises:
        LoweringError: ncnn crashes, and in which layer.
    """
    from slide_export.core.errors import LoweringError

    from .modules import module_of
    from .runtime import EXACT

    blobs = [layer.outputs[0] for layer in layers if layer.inputs]
    with tempfile.TemporaryDirectory() as directory:
        inputs, job = Path(directory, "inputs.npz"), Path(directory, "job.json")
        with inputs.open("wb") as file:
            np.savez(file, **images)  # type: ignore[arg-type]  # names are inputs', not savez's options
        job.write_text(json.dumps({"options": dict(EXACT), "blobs": blobs}, allow_nan=False))
        command = [*PROGRAM, str(path), str(inputs), str(job)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LoweringError(f"expected ncnn to run the network that pnnx wrote: {error}") from error
    if done.returncode < 0:
        how, reached = signal.Signals(-done.returncode).name, done.stdout.split()
        names = [layer for layer in called if layer.inputs]
        layer = names[int(reached[-1])] if reached else None
        where = f"in the {layer.type} of {module_of(layer)}" if layer else "while it loads the network"
        raise LoweringError(
            f"expected a model that ncnn can run, it crashes ({how}) {where} as pnnx wrote it: take another target or "
            "another form"
        )


def main(network: Path, inputs: Path, job: Path) -> None:
    """Load the network and ask for each blob, the last thing printed being what runs."""
    import ncnn

    asked: dict[str, Any] = json.loads(job.read_text())
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    for name, value in asked["options"].items():
        setattr(net.opt, name, value)
    if net.load_param(str(network)) or net.load_model(str(network.with_suffix(".bin"))):
        return  # the caller loads it too, and says why
    state = net.create_extractor()
    state.set_light_mode(False)
    with np.load(inputs, allow_pickle=False) as images:
        for name in images.files:
            kept = np.ascontiguousarray(images[name], np.float32)
            state.input(name, ncnn.Mat(kept).clone())
    for place, name in enumerate(asked["blobs"]):
        print(place, flush=True)
        state.extract(name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
