"""A bundle's proof where it runs elsewhere: the golden inputs go there, the outputs come back and are judged here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.benchmark.devices.remote_python import RemotePythonDevice
from slide_export.benchmark.process import Worker
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import ParityReport

from . import bundle as verification
from .opening import OpenedArtifact
from .place import TIMEOUT_S


def verify(
    path: Path, place: RemotePythonDevice, against: Path | None = None, step: Progress = no_progress
) -> ParityReport:
    """A fresh proof of a bundle whose artifact runs at a place; see `verification.verify`.

    Raises:
        DeviceError: the device was lost, or lacks what the bundle needs.
        SlideExportError: see `verification.verify`.
    """
    return verification.verify(path, against, step, partial(opened_at, place))


class Far:
    """An artifact that a worker has loaded."""

    def __init__(self, worker: Worker, evaluator: str) -> None:
        self.evaluator, self._worker = evaluator, worker

    def run(self, feeds: Feeds) -> Outputs:
        """Every output by name for the inputs by name."""
        return self._worker.run(feeds)


@contextmanager
def opened_at(
    place: RemotePythonDevice, made: Bundle, step: Progress, timeout_s: float = TIMEOUT_S
) -> Iterator[OpenedArtifact]:
    """A bundle's artifact, opened on a device; `timeout_s` is for one answer."""
    manifest = made.manifest
    place.prepare([manifest])
    order: dict[str, Any] = {
        "target": manifest.target,
        "path": str(place.put(made.path) / manifest.artifact.path),
        "settings": optional.harmless_settings(backends.load(manifest.target), manifest.artifact.settings),
        "feeds": None,
        "batch": 1,
        "affinity": [],
    }
    label = f"{manifest.name} ({manifest.target} {manifest.precision.name})"
    with place.worker(label, order, len(place.processors()), timeout_s) as worker:
        with step(f"load it and count what it stores and computes on {place.name}"):
            evaluator, census = f"{worker.answer()['evaluator']}, on {place.name}", worker.census()
        yield OpenedArtifact(Far(worker, evaluator), census)
