"""The first minute: export the bundled digits model to every usable target and compare accuracies."""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slide_export.backends import optional, registry
from slide_export.bundle.store import Bundle
from slide_export.calibration.accuracy import top1
from slide_export.calibration.parts import Scores
from slide_export.core.artifact import ModelIO
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest
from slide_export.proof import accuracy
from slide_export.verification.apart import Runners
from slide_export.verification.bundle import verify

from .all_targets import dynamic_first, for_target, installed
from .finish import finish
from .prepare import Prepared, prepare
from .resolve import resolve

PARITY_IMAGES = 64


@dataclass(frozen=True)
class DemoRow:
    """One line of the demo's table.

    Attributes:
        what: "PyTorch", a target and precision, or a target that is not installed.
        accuracy: held-out top-1; None where the artifact cannot run on this machine.
        path: of the bundle; None for PyTorch itself.
        size_mib: of the artifact.
        max_abs, limit, sqnr_db, evaluator: of the parity check.
        absent: how to install the target, where it is not.
    """

    what: str
    accuracy: float | None
    path: Path | None = None
    size_mib: float = 0.0
    max_abs: float = 0.0
    limit: float = 0.0
    sqnr_db: float = 0.0
    evaluator: str = ""
    absent: str = ""


def run_demo(out: Path, step: Progress = no_progress) -> tuple[DemoRow, ...]:
    """A row for PyTorch, one for each installed target, last those that are not; the checkpoint is prepared once."""
    root = Path(str(importlib.resources.files("slide_export.digits")))
    labels = tuple((root / "labels.txt").read_text().split())
    ready, absent = installed()
    requests = [
        for_target(
            ExportRequest(
                root / "digits.pth",
                out=out,
                overwrite=True,
                images=root / "heldout",
                image_count=PARITY_IMAGES,
                interface=ModelIO(labels=labels),
            ),
            target,
        )
        for target in ready
    ]
    plans = [resolve(request) for request in requests]
    if not plans:
        return ()
    with step(f"load the checkpoint and run it on {PARITY_IMAGES} held-out images in float64"):
        prepared = prepare(plans[requests.index(dynamic_first(requests))].source)
    with step("PyTorch: classify all held-out images"):
        scores = accuracy.of_pytorch(prepared.served)
        rows = [DemoRow("PyTorch", _top1(scores, prepared))]
    with Runners() as runners:
        for plan in plans:
            with step(f"{plan.target}: export and prove on {PARITY_IMAGES} held-out images"):
                bundle = finish(plan, prepared)
            with step(f"{plan.target}: verify the bundle against the checkpoint"):
                verify(bundle.path, against=prepared.served.trained, opening=runners.opened)
            with step(f"{plan.target}: classify all held-out images"):
                rows.append(_row(bundle, prepared.at_batch(plan.source.io.batch)))
    rows += [DemoRow(one.target, None, absent=one.install) for one in absent]
    return tuple(rows)


def _top1(scores: Scores, prepared: Prepared) -> float:
    (name,) = prepared.served.output_names
    return top1(lambda pictures: np.asarray(scores((pictures,))[name]), prepared.images.root, prepared.store)


def _accuracy(bundle: Bundle, prepared: Prepared) -> float | None:
    backend, artifact = registry.load(bundle.manifest.target), bundle.manifest.artifact
    if optional.unavailable_reason(backend) is not None:
        return None
    session = backend.Session(bundle.path / artifact.path, artifact.settings)
    return _top1(accuracy.of_session(session, prepared.served), prepared)


def _row(bundle: Bundle, prepared: Prepared) -> DemoRow:
    manifest = bundle.manifest
    (output,) = manifest.parity.outputs
    return DemoRow(
        what=f"{manifest.target} {manifest.precision.name}",
        accuracy=_accuracy(bundle, prepared),
        path=bundle.path,
        size_mib=manifest.artifact.bytes / 2**20,
        max_abs=output.max_abs,
        limit=output.limit_max,
        sqnr_db=output.sqnr_db,
        evaluator=manifest.parity.evaluator,
    )
