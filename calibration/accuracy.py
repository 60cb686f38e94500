"""The accuracy gate: the trained PyTorch model and an artifact on the same images, image by image.

With classes the artifact may lose `max_drop` points of top-1. Without them nobody knows who is right, but the accuracy
lost is at most the share of images whose top class changed, so that share is held to the same limit, and the outputs to
a signal-to-noise ratio. Files that cannot be decoded are skipped with their classes, see `images.decoded`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slide_export.core.errors import CalibrationError, option
from slide_export.core.measure import Measure
from slide_export.core.measure import Tally as Counted
from slide_export.core.request import AccuracyGoal
from slide_export.core.task import answers

from .evaluation_set import EvaluationSet, load
from .image_cache import PictureStore
from .images import decoded, from_directory
from .significance import better_than_chance, drop_interval, mcnemar

CHUNK_IMAGES = 48  # images in memory at a time; whole batches of 8
MEASURED_IMAGES = 4  # the same where an answer is as large as a picture
PREVIEW_IMAGES = 192  # images on which a labelling is tried before anything is exported
TOP_K = 5
MAX_DROP = 1.0
MIN_SQNR_DB = 20.0  # where there are no classes
MAX_SWAP_P_VALUE = 1e-3  # chance of calling classes swapped that the model confuses as often as not
MAX_SUGGESTED_IMAGES = 1_000_000  # more than that nobody collects to settle a doubt
Scores = Callable[[Sequence[NDArray[np.uint8]]], Mapping[str, NDArray[np.generic]]]
"""From cropped pictures, uint8 [B, H, W, 3] an input, to the outputs by name, [B, ...]; scores are one output alone."""


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
    skipped: int = 0
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
    tally = Tally()
    both = tuple(measure.tally(store, config) for _ in range(2)) if measure and data.truths else ()
    for places, pictures, classes in _chunks(data, store, MEASURED_IMAGES if measure else CHUNK_IMAGES):
        ours, theirs = pytorch(pictures), artifact(pictures)
        tally.add(ours, theirs, classes)
        for one, found in zip(both, (ours, theirs), strict=bool(both)):
            one.add(found, pictures, [data.truths[data.images.files[place]] for place in places])
    refuse_unfit(tally, data)
    report = _report(tally, data, goal, evaluator)
    return with_figures(report, measure, goal, *both) if measure and both else report


def with_figures(
    report: AccuracyReport, measure: Measure, goal: AccuracyGoal, pytorch: Counted, artifact: Counted
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
    for _, pictures, classes in _chunks(few, store):
        scores = pytorch(pictures)
        tally.add(scores, scores, classes)
    refuse_unfit(tally, few)


def _chunks(
    data: EvaluationSet, store: PictureStore, size: int = CHUNK_IMAGES
) -> Iterator[tuple[tuple[int, ...], tuple[NDArray[np.uint8], ...], NDArray[np.int64] | None]]:
    """Places in the set, pictures uint8 [B, H, W, 3], an array an input, and the classes of their samples [B]."""
    found = decoded(data.images, store.load)
    while chunk := list(islice(found, size)):
        places, samples = zip(*chunk, strict=True)
        pictures = tuple(np.stack(column) for column in zip(*samples, strict=True))
        yield places, pictures, None if data.classes is None else data.classes[list(places)]


@dataclass
class Tally:
    """Counts over the images seen so far."""

    images: int = 0
    width: int = 0  # classes of the head, 0 where the outputs are no scores
    agreed: int = 0
    pytorch: list[int] = field(default_factory=lambda: [0, 0])  # right among the first 1, among the first 5
    artifact: list[int] = field(default_factory=lambda: [0, 0])
    lost: int = 0
    won: int = 0
    signal: float = 0.0
    noise: float = 0.0
    answers: Counter[tuple[int, int]] = field(default_factory=Counter)  # (class, PyTorch's answer)

    def add(
        self,
        expected: Mapping[str, NDArray[np.generic]],
        found: Mapping[str, NDArray[np.generic]],
        classes: NDArray[np.int64] | None,
    ) -> None:
        """Count one chunk."""
        for name, values in expected.items():
            exact = np.asarray(values, np.float64)
            self.signal += float(np.square(exact).sum())
            self.noise += float(np.square(np.asarray(found[name], np.float64) - exact).sum())
        ours, theirs = np.asarray(next(iter(expected.values()))), np.asarray(next(iter(found.values())))
        self.images += len(ours)
        if ours.ndim != 2 or len(expected) > 1:
            return
        ours, theirs = answers(ours, 1), answers(theirs, 1)
        self.width = ours.shape[1]
        self.agreed += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        if classes is None:
            return
        self.answers.update(zip(classes.tolist(), ours.argmax(axis=1).tolist(), strict=True))
        first, second = self._score(ours, classes, self.pytorch), self._score(theirs, classes, self.artifact)
        self.lost += int((first & ~second).sum())
        self.won += int((second & ~first).sum())

    def _score(self, scores: NDArray[np.generic], classes: NDArray[np.int64], into: list[int]) -> NDArray[np.bool_]:
        right = np.asarray(scores.argmax(axis=1) == classes)
        into[0] += int(right.sum())
        if self.width > TOP_K:
            best = np.argpartition(scores, -TOP_K, axis=1)[:, -TOP_K:]
            into[1] += int((best == classes[:, None]).any(axis=1).sum())
        return right


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


def refuse_unfit(tally: Tally, data: EvaluationSet) -> None:
    """Refuse classes that the trained model itself contradicts, naming the likely cause.

    Raises:
        CalibrationError: it does no better than guessing, or it calls a whole class by another's name and back.
    """
    if data.classes is None:
        return
    if swapped := _swapped(tally.answers):
        swaps = ", ".join(f"{data.names[index] or index} is what it calls {answer}" for index, answer in swapped[:4])
        raise CalibrationError(
            f"expected the classes of {data.images.source} in the order of the model's head, found {len(swapped)} in "
            f"another order ({swaps}): give the class names in the head's order with {option('labels')}, or rename the "
            "folders"
        )
    if not tally.width:
        raise CalibrationError(f"expected scores of classes to compare with {data.images.source}, found other outputs")
    right = tally.pytorch[0]
    if better_than_chance(right, tally.images, tally.width):
        return
    if not better_than_chance(tally.images, tally.images, tally.width):
        raise CalibrationError(f"expected enough images to judge by, found {tally.images} in {data.images.source}")
    raise CalibrationError(
        f"expected the trained model to do better than guessing on {data.images.source}, found it right on {right} of "
        f"{tally.images} images with {tally.width} classes: the images are mislabelled or not of the kind that it was "
        "trained on"
    )


def _swapped(answers: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    """(class, answer) of each class that the model calls another one, where these form closed rings.

    A weak model confuses a class with another; only a wrong order sends every class of a ring to the next one. Twins,
    which a model confuses as often as not, look like a ring of two on a few images, so McNemar's test has to rule out
    that the given order is as good as the ring undone.
    """
    totals: Counter[int] = Counter()
    for (label, _), count in answers.items():
        totals[label] += count
    moved = {
        label: answer for (label, answer), count in answers.items() if label != answer and 2 * count > totals[label]
    }
    swapped: dict[int, int] = {}
    for label in moved:
        ring = [] if label in swapped else _ring(label, moved)
        given, undone = sum(answers[one, one] for one in ring), sum(answers[one, moved[one]] for one in ring)
        if undone > given and mcnemar(given, undone) < MAX_SWAP_P_VALUE:
            swapped |= {one: moved[one] for one in ring}
    return sorted(swapped.items())


def _ring(start: int, moved: Mapping[int, int]) -> list[int]:
    """Classes from `start` on that lead one to the next and back to it; empty where they do not.

    Given   start 0, moved {0: 1, 1: 2, 2: 0, 7: 3}
    Result  [0, 1, 2]; for start 7 []
    """
    ring = [start]
    while moved.get(ring[-1], start) != start and len(ring) < len(moved):
        ring.append(moved[ring[-1]])
    return ring if moved.get(ring[-1]) == start else []


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
    for _, pictures, classes in _chunks(labelled, store):
        right += int((np.asarray(scores(pictures[0])).argmax(axis=1) == classes).sum())
        seen += len(pictures[0])
    return right / seen
