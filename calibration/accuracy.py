"""The accuracy gate: the trained PyTorch model and an artifact on the same images, image by image.

With classes the artifact may lose `max_drop` points of top-1. Without them nobody knows who is right, but the accuracy
lost is at most the share of images whose top class changed, so that share is held to the same limit, and the outputs to
a signal-to-noise ratio. Files that cannot be decoded are skipped with their classes, see `images.BrokenFiles`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slide_export.core.errors import CalibrationError
from slide_export.core.measure import Measure
from slide_export.core.measure import Tally as Counts
from slide_export.core.request import AccuracyGoal

from .evaluation_set import EvaluationSet, load
from .fitness import refuse_unfit
from .image_cache import PictureStore
from .images import BrokenFiles, from_directory
from .parts import CHUNK_IMAGES, Counted, Scores, chunks, count
from .significance import drop_interval, mcnemar
from .tally import TOP_K, Tally

PREVIEW_IMAGES = 192  # images on which a labelling is tried before anything is exported
MAX_DROP = 1.0
MIN_SQNR_DB = 20.0  # where there are no classes
MAX_SUGGESTED_IMAGES = 1_000_000  # more than that nobody collects to settle a doubt


@dataclass(frozen=True)
class Hits:
    """How often one model is right, as shares.

    Attributes:
        top5: None where the head has five classes or fewer.
    """

    top1: float
    top5: float | None


@dataclass(frozen=True)
class Other:
    """A figure beside the measured one, of both models' answers, by its name with the unit."""

    name: str
    pytorch: float
    artifact: float


@dataclass(frozen=True)
class Measured:
    """A figure of both models' answers, the larger the better; see `core.measure`.

    Attributes:
        name, unit: for people.
        others: figures beside it, of which nothing is asked.
    """

    name: str
    unit: str
    pytorch: float
    artifact: float
    others: tuple[Other, ...] = ()


@dataclass(frozen=True)
class AccuracyReport:
    """What an artifact loses to PyTorch in float32 on the same images.

    Attributes:
        evaluator: what ran the artifact.
        source: where the images came from.
        digest: of the images' names and classes.
        pytorch, artifact: None without classes.
        lost, won: images that PyTorch alone, and the artifact alone, has right.
        p_value: McNemar's exact test of "neither is better"; None without classes.
        drop: points of top-1 lost, or what of a figure; without either, points of disagreement: the most that can be
            lost; None where the outputs are no scores.
        interval: of the drop, 95 %, points; None without classes.
        agreement: share of images with the same top class; None where the outputs are no scores.
        sqnr_db: of the artifact's outputs against PyTorch's.
        max_drop: the goal; None where the outputs are no scores.
        min_sqnr_db: the goal; None where nothing was asked of it.
        skipped: files that could not be decoded.
        measured: a figure of the answers beside their truths; None where these are classes, or there are none.
        enough: about how many images that go like these would show, with 95 %, that no more than `max_drop` is lost;
            None where these show it, or none would.
    """

    evaluator: str
    source: str
    digest: str
    images: int
    pytorch: Hits | None
    artifact: Hits | None
    lost: int
    won: int
    p_value: float | None
    drop: float | None
    interval: tuple[float, float] | None
    agreement: float | None
    sqnr_db: float
    max_drop: float | None
    min_sqnr_db: float | None
    skipped: int
    enough: int | None = None
    measured: Measured | None = None

    @property
    def passed(self) -> bool:
        """Whether the goal is met; a NaN meets none."""
        near = self.min_sqnr_db is None or self.sqnr_db >= self.min_sqnr_db
        return near and (self.drop is None or self.max_drop is None or self.drop <= self.max_drop)


def compare(
    pytorch: Scores,
    artifact: Scores,
    data: EvaluationSet,
    store: PictureStore,
    goal: AccuracyGoal,
    evaluator: str,
    measure: Measure | None = None,
    config: Any = None,
) -> AccuracyReport:
    """What the artifact loses on all images, read and scored a chunk at a time.

    Args:
        measure: what tells how good an answer is, where images have a truth that is no class.
        config: of the model, for `measure`.

    Raises:
        CalibrationError: too many images cannot be decoded, or the classes are not the model's.
    """
    return conclude(count(pytorch, artifact, data, store, evaluator, measure, config), data, goal, measure)


def conclude(
    counted: Counted, data: EvaluationSet, goal: AccuracyGoal, measure: Measure | None = None
) -> AccuracyReport:
    """Judge what was counted of a whole set.

    Raises:
        CalibrationError: the classes are not the model's.
    """
    refuse_unfit(counted.tally, data)
    report = _report(counted.tally, data, goal, counted.evaluator)
    return with_figures(report, measure, goal, *counted.measured) if measure and counted.measured else report


def with_figures(
    report: AccuracyReport, measure: Measure, goal: AccuracyGoal, pytorch: Counts, artifact: Counts
) -> AccuracyReport:
    """A report of answers whose truths are no classes, with what both models reach."""
    others = tuple(Other(name, value, artifact.others[name]) for name, value in pytorch.others.items())
    return replace(
        report,
        measured=Measured(measure.name, measure.unit, pytorch.value, artifact.value, others),
        drop=pytorch.value - artifact.value,
        max_drop=measure.max_drop if goal.max_drop is None else goal.max_drop,
        min_sqnr_db=goal.min_sqnr_db,
    )


def preview(pytorch: Scores, data: EvaluationSet, store: PictureStore) -> None:
    """Refuse images whose classes are not the model's, after a few of them spread over the whole set.

    Raises:
        CalibrationError: the trained model itself does no better than guessing on them, and why that may be.
    """
    if data.classes is None:
        return
    total = len(data.images.files)
    picked = [index * total // min(total, PREVIEW_IMAGES) for index in range(min(total, PREVIEW_IMAGES))]
    few = EvaluationSet(data.images.spread(PREVIEW_IMAGES), data.classes[picked], data.names)
    tally = Tally()
    for _, pictures, classes in chunks(few, store, CHUNK_IMAGES, BrokenFiles(few.images)):
        scores = pytorch(pictures)
        tally.add(scores, scores, classes)
    refuse_unfit(tally, few)


def _report(tally: Tally, data: EvaluationSet, goal: AccuracyGoal, evaluator: str) -> AccuracyReport:
    known = data.classes is not None
    scored = tally.width > 0
    agreement = tally.agreed / tally.images if scored else None
    drop = 100 * (tally.lost - tally.won) / tally.images if known else None
    interval = drop_interval(tally.lost, tally.won, tally.images) if known else None
    if drop is None and agreement is not None:
        drop = 100 * (tally.images - tally.agreed) / tally.images
    max_drop = MAX_DROP if goal.max_drop is None else goal.max_drop
    min_sqnr_db = MIN_SQNR_DB if goal.min_sqnr_db is None and not known else goal.min_sqnr_db
    return AccuracyReport(
        evaluator=evaluator,
        source=data.images.source,
        digest=data.digest(),
        images=tally.images,
        pytorch=_hits(tally.pytorch, tally) if known else None,
        artifact=_hits(tally.artifact, tally) if known else None,
        lost=tally.lost,
        won=tally.won,
        p_value=mcnemar(tally.lost, tally.won) if known else None,
        drop=drop,
        interval=(100 * interval[0], 100 * interval[1]) if interval else None,
        agreement=agreement,
        sqnr_db=_decibel(tally.signal, tally.noise),
        max_drop=max_drop if scored else None,
        min_sqnr_db=min_sqnr_db,
        skipped=len(data.images.files) - tally.images,
        enough=_images_needed(tally, max_drop) if known else None,
    )


def _images_needed(tally: Tally, max_drop: float) -> int | None:
    """Number of images like these that would rule out a larger drop; None where these do, or where none would."""
    lost, won, count = tally.lost / tally.images, tally.won / tally.images, tally.images

    def shown(images: int) -> bool:
        """Whether the interval of the drop on so many images, in points, stays within the limit."""
        return 100 * drop_interval(round(images * lost), round(images * won), images)[1] <= max_drop

    if shown(count):
        return None
    while not shown(count):
        count = math.ceil(count * 1.02)
        if count > MAX_SUGGESTED_IMAGES:
            return None
    return round(count, 1 - math.floor(math.log10(count)))  # two digits


def _hits(right: list[int], tally: Tally) -> Hits:
    return Hits(right[0] / tally.images, right[1] / tally.images if tally.width > TOP_K else None)


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def top1(scores: Callable[[NDArray[np.uint8]], NDArray[np.generic]], root: Path, store: PictureStore) -> float:
    """Share of the images below `root` whose best score is of their class, 0..1.

    Args:
        scores: from cropped images, uint8 [B, H, W, 3], to [B, classes].

    Raises:
        CalibrationError: there are no class folders, or an image lies outside them.
    """
    images = from_directory(root)
    folders = {file.relative_to(root).parts[0] for file in images.files if file.parent != root}
    labelled, right, seen = load(root, (), len(folders)), 0, 0
    if labelled.classes is None:
        raise CalibrationError(f"expected one folder a class in {root}, found images without folders")
    for _, pictures, classes in chunks(labelled, store, CHUNK_IMAGES, BrokenFiles(labelled.images)):
        right += int((np.asarray(scores(pictures[0])).argmax(axis=1) == classes).sum())
        seen += len(pictures[0])
    return right / seen
