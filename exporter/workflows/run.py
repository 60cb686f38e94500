"""A bundle's artifact on pictures: what it answers, drawn by its task, beside the trained model where that is at hand.

files, folders -> decoded, resized, cropped as the manifest says -> fed -> outputs -> `Task.draw` -> lines of text
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from slide_export.backends.interface import Session
from slide_export.bundle import store as bundles
from slide_export.bundle.manifest import Manifest
from slide_export.calibration import samples
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import find, is_there
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import CalibrationError
from slide_export.core.progress import Progress, no_progress
from slide_export.core.task import Task
from slide_export.inference.served import ServedModel, feeds_of, repeated
from slide_export.models import DataConfig
from slide_export.verification.bundle import interface_of, open_bundle, task_in, trained
from slide_export.verification.drawing import refuse_words, write_each

CONTAINERS = frozenset({".zip", ".npz", ".csv"})


@dataclass(frozen=True)
class Answer:
    """What was made of one sample.

    Attributes:
        image: its first file.
        outputs: of the artifact, without the batch axis.
        drawn: the same for people, a line each.
        picture: the same as a picture, uint8 [H, W, 3]; None where the task draws none.
        trained: outputs of the PyTorch model in float32; None where no checkpoint was given.
        trained_drawn: the same for people.
    """

    image: Path
    outputs: Outputs
    drawn: tuple[str, ...]
    trained: Outputs | None = None
    trained_drawn: tuple[str, ...] = ()
    picture: NDArray[np.uint8] | None = None

    @property
    def largest_difference(self) -> float | None:
        """Largest absolute difference of any output from the PyTorch model's."""
        if self.trained is None:
            return None
        pairs = ((self.outputs[name], value) for name, value in self.trained.items())
        return max(float(np.abs(found.astype(np.float64) - value).max()) for found, value in pairs)


@dataclass(frozen=True)
class RunResult:
    """Answers of one bundle.

    Attributes:
        evaluator: what ran the artifact.
        answers: in the order of the images.
    """

    bundle: Path
    target: str
    precision: str
    task: str
    evaluator: str
    answers: tuple[Answer, ...]


def run(bundle: Path, places: Sequence[Path], against: Path | None = None, step: Progress = no_progress) -> RunResult:
    """Run an artifact on pictures.

    Args:
        bundle: its directory.
        places: image files, folders, or what else `--images` takes.
        against: the checkpoint that the bundle was made from.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        CalibrationError: there is no image, or one cannot be decoded.
    """
    with open_bundle(bundle, step) as opened:
        manifest, task, session = opened.bundle.manifest, task_in(opened.bundle), opened.artifact.session
        told = samples_in(places, task)
        images = tuple(told)
        served = trained(opened, against, step)
        store = PictureStore(data_of(manifest), manifest.preprocessing.crop, task.sample)
        store.take(told)
        for file in images:
            store.load(file)  # decodes every picture before the first is answered
        interface = interface_of(opened.bundle)
        with step(f"run the artifact on {len(images)} images"):
            answers = []
            for part in _parts(images, interface.batch or 1):
                feeds = feeds_of(task, interface, store.data, store.stacked(part))
                outputs = run_batch(session, feeds, interface.batch)
                answers += [
                    _answer(file, row, task, manifest, store) for file, row in zip(part, _rows(outputs), strict=True)
                ]
        if served is not None:
            with step(f"run the trained model on {len(images)} images"):
                answers = [_beside(one, served, store, task) for one in answers]
    return RunResult(bundle, manifest.target, manifest.precision.name, task.name, session.evaluator, tuple(answers))


def samples_in(places: Sequence[Path], task: Task) -> dict[Path, tuple[Path, ...]]:
    """The samples of a task in files and folders, by their first file, in the order that was given.

    Raises:
        CalibrationError: a place does not exist, or holds no sample of the task.
    """
    found: dict[Path, tuple[Path, ...]] = {}
    single: list[Path] = []
    for place in places:
        if not is_there(place, Path.exists):
            raise CalibrationError(f"expected an image or a folder of images at {place}, found nothing")
        if not place.is_dir() and place.suffix.lower() not in CONTAINERS:
            single.append(place)
            if len(single) == len(task.inputs) or task.sample(place):
                found |= samples.of_files(single, task)
                single = []
            continue
        images, told = samples.of_set(find(place), task)
        found |= {file: told.get(file) or task.sample(file) for file in images.files}
    if single:
        samples.of_files(single, task)  # refuses them
    if not found:
        raise CalibrationError("expected at least one image, found none")
    return found


def data_of(manifest: Manifest) -> DataConfig:
    """The preprocessing that a manifest tells."""
    told = manifest.preprocessing
    mean, std = (tuple(map(float, channels)) for channels in (told.mean, told.std))
    return DataConfig(
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        told.interpolation,
        told.keep_aspect,
        told.scale,
        told.resizes,
        told.fits,
    )


def run_batch(session: Session, feeds: Feeds, batch: int | None) -> Outputs:
    """Outputs of images [B, ...]; fewer than a fixed batch size are filled up with themselves."""
    count = len(next(iter(feeds.values())))
    fed = {name: repeated(value, batch) for name, value in feeds.items()} if batch else feeds
    return {name: value[:count] for name, value in session.run(fed).items()}


def _parts(files: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _rows(outputs: Outputs) -> Iterator[Outputs]:
    """Outputs of each image, [1, ...]."""
    count = len(next(iter(outputs.values())))
    for index in range(count):
        yield {name: value[index : index + 1] for name, value in outputs.items()}


def _answer(file: Path, row: Outputs, task: Task, manifest: Manifest, store: PictureStore) -> Answer:
    config, words = SimpleNamespace(**manifest.model.config), task.draw(row, manifest.labels)
    picture = None if task.picture is None else task.picture(row, store.load(file), config)
    return Answer(file, {name: value[0] for name, value in row.items()}, words, picture=picture)


def _beside(answer: Answer, served: ServedModel, store: PictureStore, task: Task) -> Answer:
    """The answer with the trained model's."""
    row = served.outputs(served.feeds(store.stacked((answer.image,))), torch.float32)
    outputs = {name: value[0] for name, value in row.items()}
    return replace(answer, trained=outputs, trained_drawn=task.draw(row, served.io.labels))


def refuse_undrawn(bundle: Path) -> None:
    """Refuse a bundle whose answers are words alone, where pictures are asked for.

    Raises:
        RequestError: they are.
    """
    refuse_words(task_in(bundles.read(bundle)))


def draw(result: RunResult, directory: Path) -> tuple[Path, ...]:
    """Write each answer's picture as PNG, called like its image; a number goes behind a name that is taken.

    Raises:
        WriteError: nothing can be written there.
    """
    answers = result.answers
    return write_each(((one.image.stem, one.picture) for one in answers if one.picture is not None), directory)
