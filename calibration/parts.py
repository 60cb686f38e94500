"""Parts of an evaluation set, counted apart by whoever and put together again: equal to the whole, bit for bit.

    files   0 ........ 47 | 48 ....... 95 | 96 ...... 143 | 144 .. 150     chunks, by the places of files
    parts   [     counted by one process  | by another                ]    cut between chunks
    merged  counts add up; terms of float sums stand in the order of the chunks

A chunk is what is decoded and run together. Its files are told by their places, so that one that cannot be decoded
moves no other into another batch. Whether too many are broken, or the classes are not the model's, is judged of the
whole alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from slide_export.core.errors import CalibrationError, RequestError
from slide_export.core.measure import DividedTally, Measure
from slide_export.core.measure import Tally as Counts

from .evaluation_set import EvaluationSet
from .image_cache import PictureStore
from .images import BrokenFiles
from .tally import Tally

CHUNK_IMAGES = 48  # images in memory at a time; whole batches of 8
MEASURED_IMAGES = 4  # the same where an answer is as large as a picture
Scores = Callable[[Sequence[NDArray[np.uint8]]], Mapping[str, NDArray[np.generic]]]
"""From cropped pictures, uint8 [B, H, W, 3] an input, to the outputs by name, [B, ...]; scores are one output alone."""
Chunk = tuple[tuple[int, ...], tuple[NDArray[np.uint8], ...], NDArray[np.int64] | None]
"""Places in the set, pictures uint8 [B, H, W, 3], an array an input, and the classes of their samples [B]."""


@dataclass(frozen=True, order=True)
class FileRange:
    """Consecutive files of a set by their places, the last one excluded."""

    start: int
    stop: int


def chunk_of(measure: Measure | None) -> int:
    """Images that are decoded and run together."""
    return MEASURED_IMAGES if measure else CHUNK_IMAGES


def ranges(files: int, chunk: int, most: int) -> tuple[FileRange, ...]:
    """Cut a set between chunks, at most so many files a part but a whole chunk at least.

    Given   100 files, chunks of 8, at most 30
    Result  0-24, 24-48, 48-72, 72-96, 96-100
    """
    step = max(1, most // chunk) * chunk
    return tuple(FileRange(start, min(start + step, files)) for start in range(0, files, step))


@dataclass(frozen=True)
class Counted:
    """What two models answered for a part of a set, or for all of it.

    Attributes:
        evaluator: what ran the artifact.
        measured: of the trained model's answers and of the artifact's, where images have truths that are no classes.
        broken: place and error of files that could not be decoded.
    """

    files: FileRange
    evaluator: str
    tally: Tally
    measured: tuple[Counts, Counts] | None
    broken: tuple[tuple[int, str], ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same as JSON holds it, exactly.

        Raises:
            RequestError: what measures the answers cannot be divided.
        """
        return {
            "files": [self.files.start, self.files.stop],
            "evaluator": self.evaluator,
            "tally": self.tally.plain(),
            "measured": None if self.measured is None else [divided(one).plain() for one in self.measured],
            "broken": [list(one) for one in self.broken],
        }


def count(
    pytorch: Scores,
    artifact: Scores,
    data: EvaluationSet,
    store: PictureStore,
    evaluator: str,
    measure: Measure | None = None,
    config: Any = None,
    part: FileRange | None = None,
) -> Counted:
    """Count what two models answer, read and scored a chunk at a time.

    Args:
        measure: what tells how good an answer is, where images have a truth that is no class.
        config: of the model, for `measure`.
        part: which files; None takes all, and refuses too many broken ones at once.

    Raises:
        CalibrationError: too many images cannot be decoded.
    """
    files = part or FileRange(0, len(data.images.files))
    tally, broken = Tally(), BrokenFiles(data.images, later=part is not None)
    measured = _measured(data, measure, store, config)
    for places, pictures, classes in chunks(data, store, chunk_of(measure), broken, files):
        ours, theirs = pytorch(pictures), artifact(pictures)
        tally.add(ours, theirs, classes)
        for one, found in zip(measured or (), (ours, theirs), strict=bool(measured)):
            one.add(found, pictures, [data.truths[data.images.files[place]] for place in places])
    return Counted(files, evaluator, tally, measured, tuple(broken.found))


def chunks(
    data: EvaluationSet, store: PictureStore, size: int, broken: BrokenFiles, files: FileRange | None = None
) -> Iterator[Chunk]:
    """The files of a part that can be decoded, chunk by chunk; a chunk of broken ones alone is left out."""
    files = files or FileRange(0, len(data.images.files))
    for start in range(files.start, files.stop, size):
        places, samples = [], []
        for place in range(start, min(start + size, files.stop)):
            try:
                samples.append(store.load(data.images.files[place]))
            except CalibrationError as error:
                broken.add(place, error.args[0])
                continue
            places.append(place)
        if places:
            pictures = tuple(np.stack(column) for column in zip(*samples, strict=True))
            yield tuple(places), pictures, None if data.classes is None else data.classes[places]


def merged(
    parts: Sequence[Mapping[str, Any]],
    data: EvaluationSet,
    store: PictureStore,
    measure: Measure | None = None,
    config: Any = None,
) -> Counted:
    """Put parts together that were counted apart, in any order; see `Counted.plain`.

    Raises:
        CalibrationError: too many images of the whole cannot be decoded.
        RequestError: the parts are not the whole, or different runtimes counted them.
    """
    ordered = sorted(parts, key=lambda one: tuple(one["files"]))
    files = FileRange(0, len(data.images.files))
    _refuse_other_than_whole(ordered, files)
    tally, broken = Tally(), BrokenFiles(data.images)
    measured = _measured(data, measure, store, config)
    for part in ordered:
        for place, said in part["broken"]:
            broken.add(place, said)
        tally.extend(Tally.parsed(part["tally"]))
        inside = data.images.files[slice(*part["files"])]
        for one, counts in zip(measured or (), part["measured"] or (), strict=True):
            divided(one).extend(counts, [data.truths[file] for file in inside])
    return Counted(files, ordered[0]["evaluator"], tally, measured, tuple(broken.found))


def divided(counts: Counts) -> DividedTally:
    """Counts whose parts add up to those of the whole.

    Raises:
        RequestError: they are of a task that cannot tell its parts.
    """
    if hasattr(counts, "plain") and hasattr(counts, "extend"):  # not isinstance, which would compute the figure
        return cast(DividedTally, counts)
    raise RequestError(
        f"expected counts that can be divided between processes (plain and extend, see core.measure), found "
        f"{type(counts).__name__}, which has none: evaluate in one process"
    )


def _measured(
    data: EvaluationSet, measure: Measure | None, store: PictureStore, config: Any
) -> tuple[Counts, Counts] | None:
    """What counts the trained model's answers, and the artifact's; None where images have no truths but classes."""
    return (measure.tally(store, config), measure.tally(store, config)) if measure and data.truths else None


def _refuse_other_than_whole(parts: Sequence[Mapping[str, Any]], files: FileRange) -> None:
    found = [tuple(one["files"]) for one in parts]
    ends = [files.start, *(stop for _, stop in found)]
    if [start for start, _ in found] != ends[:-1] or ends[-1] != files.stop:
        raise RequestError(f"expected parts that are all {files.stop} files once, found the ranges {found}")
    if len(evaluators := sorted({one["evaluator"] for one in parts})) > 1:
        raise RequestError(
            f"expected one runtime for all parts of an evaluation, found {' and '.join(evaluators)}: evaluate all "
            "of it on machines that are alike"
        )
