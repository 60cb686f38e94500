"""The first minute: export the bundled digits model to every usable target and compare accuracies."""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.bundle.store import Bundle
from slide_export.calibration.accuracy import top1
from slide_export.calibration.preprocess import normalise
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest
from slide_export.verification.bundle import verify

from .export import run

PARITY_IMAGES = 64


@dataclass(frozen=True)
class DemoRow:
    """One line of the demo's table.

    Attributes:
        what: "PyTorch", or a target and precision.
        accuracy: held-out top-1; None where the artifact cannot run on this machine.
        path: of the bundle; None for PyTorch itself.
        size_mib: of the artifact.
        max_abs, limit, sqnr_db, evaluator: of the parity check.
    """

    what: str
    accuracy: float | None
    path: Path | None = None
    size_mib: float = 0.0
    max_abs: float = 0.0
    limit: float = 0.0
    sqnr_db: float = 0.0
    evaluator: str = ""


def run_demo(out: Path, step: Progress = no_progress) -> tuple[DemoRow, ...]:
    """Returns one row for PyTorch and one for each usable target."""
    root = Path(str(importlib.resources.files("slide_export.digits")))
    heldout, checkpoint = root / "heldout", root / "digits.pth"
    labels = tuple((root / "labels.txt").read_text().split())
    model = load_checkpoint(checkpoint)
    with step("PyTorch: classify all held-out images"):
        rows = [
            DemoRow(
                "PyTorch", top1(lambda pictures: _torch_scores(model, pictures), heldout, model.data, model.image_size)
            )
        ]
    for target in backends.names():
        if not backends.availability(target).ready:
            continue
        recipe = ExportRequest(
            checkpoint,
            target=target,
            out=out,
            overwrite=True,
            images=heldout,
            image_count=PARITY_IMAGES,
            interface=ModelIO(labels=labels),
        )
        with step(f"{target}: export and prove on {PARITY_IMAGES} held-out images"):
            bundle = run(recipe)
        with step(f"{target}: verify the bundle against the checkpoint"):
            verify(bundle.path, checkpoint)
        with step(f"{target}: classify all held-out images"):
            rows.append(_row(bundle, model, heldout))
    return tuple(rows)


def _torch_scores(model: Model, pictures: NDArray[np.uint8]) -> NDArray[np.generic]:
    with torch.inference_mode():
        scores: NDArray[np.generic] = model.module(torch.from_numpy(normalise(pictures, model.data))).numpy()
    return scores


def _accuracy(bundle: Bundle, model: Model, heldout: Path) -> float | None:
    backend, artifact = backends.load(bundle.manifest["target"]), bundle.manifest["artifact"]
    if optional.unavailable_reason(backend) is not None:
        return None
    session = backend.Session(bundle.path / artifact["path"], artifact["settings"])

    def scores(pictures: NDArray[np.uint8]) -> NDArray[np.generic]:
        return session.run({"images": normalise(pictures, model.data)})["logits"]

    return top1(scores, heldout, model.data, model.image_size)


def _row(bundle: Bundle, model: Model, heldout: Path) -> DemoRow:
    manifest = bundle.manifest
    artifact, (output,) = manifest["artifact"], manifest["parity"]["outputs"]
    return DemoRow(
        what=f"{manifest['target']} {manifest['precision']}",
        accuracy=_accuracy(bundle, model, heldout),
        path=bundle.path,
        size_mib=artifact["bytes"] / 2**20,
        max_abs=output["max_abs"],
        limit=output["limit_max"],
        sqnr_db=output["sqnr_db"],
        evaluator=manifest["parity"]["evaluator"],
    )
