"""Accuracy by several processes of this machine: each counts a part of the images, together they are the whole.

    parent  ── {what to open, "files": [start, stop]} ──>  child: checkpoint and artifact opened, a part counted
            <── counts as JSON ──────────────────────────
    parent: parts put together, judged as if one process had counted all of them

The parent has what it needs to judge and computes nothing meanwhile, so that as many processes work as were asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.backends import registry
from slide_export.bundle import store as bundles
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.parts import Counted, FileRange, chunk_of, ranges
from slide_export.core import errors
from slide_export.core.artifact import Artifact
from slide_export.core.errors import CrashError, RequestError, SlideExportError, option
from slide_export.core.request import AccuracyGoal
from slide_export.inference.served import ServedModel
from slide_export.proof import accuracy
from slide_export.proof.session import open_session
from slide_export.verification.bundle import OpenedBundle, served_by
from slide_export.verification.opening import artifact_of

from .child import Nursery, threads_each

if TYPE_CHECKING:
    from .prepare import Prepared

LEAST_IMAGES = 192
"""For a process: it takes seconds to load torch, the checkpoint and the artifact, in which it could answer as many."""
NO_LIMIT_S = 7 * 24 * 3600.0  # who waits for the command decides how long
PRELOAD = ("slide_export.workflows.evaluate_apart", "slide_export.workflows.prepared_files")
HERE = "slide_export.workflows.evaluate_apart"


def processes(data: EvaluationSet, jobs: int) -> int:
    """How many processes it is worth to divide a set between, at most so many."""
    return max(1, min(jobs, len(data.images.files) // LEAST_IMAGES))


def of_export(prepared: Prepared, artifact: Artifact, goal: AccuracyGoal, jobs: int) -> AccuracyReport:
    """What an artifact that was just made loses to the trained model.

    Raises:
        SlideExportError: what a process raises, as itself; see `proof.accuracy.evaluate`.
    """
    from .prepared_files import write

    data = prepared.evaluation
    assert data is not None  # whoever asks for an accuracy has images
    if prepared.request.checkpoint.families or prepared.request.checkpoint.tasks:
        raise RequestError(
            f"expected families and tasks of slide_export for several processes: leave out {option('jobs')}"
        )
    with tempfile.TemporaryDirectory(prefix="slide-export-evaluate-") as directory:
        write(prepared, Path(directory))
        order = {
            "prepared": directory,
            "target": artifact.target,
            "path": str(artifact.path.resolve()),
            "graph": None if artifact.graph is None else str(artifact.graph.resolve()),
            "settings": dict(artifact.settings),
        }
        counted = _counted(f"{HERE}:part_of_export", order, prepared.served, data, jobs)
    return accuracy.conclude(counted, prepared.served, data, goal, prepared.store)


def of_bundle(
    opened: OpenedBundle,
    served: ServedModel,
    data: EvaluationSet,
    goal: AccuracyGoal,
    store: PictureStore,
    *,
    against: Path,
    jobs: int,
) -> AccuracyReport:
    """What a bundle's artifact loses to the checkpoint that it was made from.

    Raises:
        SlideExportError: what a process raises, as itself; see `proof.accuracy.evaluate`.
    """
    jobs = processes(data, jobs)
    if jobs == 1:
        return accuracy.evaluate(accuracy.of_pytorch(served), served, opened.artifact.session, data, goal, store)
    order = {"bundle": str(opened.bundle.path), "against": str(against), "images": str(goal.images)}
    counted = _counted(f"{HERE}:part_of_bundle", order, served, data, jobs)
    return accuracy.conclude(counted, served, data, goal, store)


def _counted(
    function: str, order: Mapping[str, Any], served: ServedModel, data: EvaluationSet, jobs: int
) -> list[Mapping[str, Any]]:
    """What each process counted; the first failure ends all."""
    chunk, files = chunk_of(served.task.measure), len(data.images.files)
    chunks = -(-files // chunk)
    parts = ranges(files, chunk, -(-chunks // jobs) * chunk)
    threads = threads_each(jobs)

    def part(files: FileRange) -> Mapping[str, Any]:
        """Have one part counted."""
        asked = {**order, "files": [files.start, files.stop], "threads": int(threads)}
        end = nursery.run(function, asked, NO_LIMIT_S)
        if end.result is None:
            raise CrashError(f"expected an artifact that runs, found that {end.message}; evaluate it in one process")
        if "error" in end.result:
            raise errors.from_answer(end.result)
        counted: Mapping[str, Any] = end.result
        return counted

    with (
        Nursery(PRELOAD, {"OMP_NUM_THREADS": threads}) as nursery,
        ThreadPoolExecutor(len(parts)) as pool,
    ):
        try:
            return list(pool.map(part, parts))
        except BaseException:
            nursery.stop()
            raise


def part_of_export(order: Mapping[str, Any]) -> dict[str, Any]:
    """Count a part for an artifact that is being exported, in a process of its own."""

    def counted() -> Counted:
        """The counts."""
        from .prepared_files import read

        prepared = read(Path(order["prepared"]))
        assert prepared.evaluation is not None
        graph = None if order["graph"] is None else Path(order["graph"])
        settings = {**order["settings"], "threads": order["threads"]}
        session = open_session(registry.load(order["target"]), Path(order["path"]), graph, settings)
        part = FileRange(*order["files"])
        trained = accuracy.of_pytorch(prepared.served)
        return accuracy.count(trained, prepared.served, session, prepared.evaluation, prepared.store, part)

    return _told(counted)


def part_of_bundle(order: Mapping[str, Any]) -> dict[str, Any]:
    """Count a part for a bundle, in a process of its own."""

    def counted() -> Counted:
        """The counts."""
        made = bundles.read(Path(order["bundle"]))
        served = served_by(made, Path(order["against"]))
        store = PictureStore(served.trained.data, served.trained.image_size, served.task.sample)
        data = accuracy.list_images(AccuracyGoal(Path(order["images"])), served, store)
        backend, path, graph, settings = artifact_of(made)
        session = open_session(backend, path, graph, {**settings, "threads": order["threads"]})
        return accuracy.count(accuracy.of_pytorch(served), served, session, data, store, FileRange(*order["files"]))

    return _told(counted)


def _told(count: Callable[[], Counted]) -> dict[str, Any]:
    """Counts or a refusal, as JSON holds them."""
    try:
        return count().plain()
    except SlideExportError as error:
        return errors.as_answer(error)
