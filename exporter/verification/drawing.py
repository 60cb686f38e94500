"""Answers as pictures: an artifact's above the trained model's, drawn on the inputs that a bundle carries."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from slide_export.core import files
from slide_export.core.errors import RequestError, option
from slide_export.inference.served import repeated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slide_export.bundle.manifest import Manifest
    from slide_export.core.task import Task

    from .bundle import OpenedBundle

    Picture = NDArray[np.uint8]

GAP = 4  # rows of white between the two


def refuse_words(task: Task) -> None:
    """Refuse a task whose answers are words alone, where pictures are asked for.

    Raises:
        RequestError: it is one.
    """
    if task.picture is None:
        raise RequestError(
            f"expected a task whose answers are pictures for {option('draw')}, found {task.name}: leave it out"
        )


def beside_the_model(opened: OpenedBundle, directory: Path) -> tuple[Path, ...]:
    """Write a picture for each of a bundle's inputs: the artifact's answer, and below it the trained model's.

    Args:
        opened: its artifact runs once more.

    Raises:
        RequestError: the task's answers are words alone.
        WriteError: nothing can be written there.
    """
    refuse_words(opened.task)
    name = opened.bundle.path.resolve().name
    drawn = ((f"{name}-{Path(image).stem}", picture) for image, picture in _pairs(opened))
    return write_each(drawn, directory)


def _pairs(opened: OpenedBundle) -> Iterator[tuple[str, Picture]]:
    """Name and picture of each input."""
    manifest, golden, task = opened.bundle.manifest, opened.golden, opened.task
    config, batch = SimpleNamespace(**manifest.model.config), manifest.options.batch or 1
    assert task.picture is not None  # refused above
    for at, image in enumerate(golden.images):
        fed = {name: value[at : at + 1] for name, value in golden.feeds.items()}
        pictures = tuple(shown(value[0], manifest) for value in fed.values())
        found = opened.artifact.session.run({name: repeated(value, batch) for name, value in fed.items()})
        exact = {name: value[at : at + 1] for name, value in golden.exact.items()}
        ours, theirs = (
            task.picture({name: np.asarray(value[:1]) for name, value in outputs.items()}, pictures, config)
            for outputs in (found, exact)
        )
        white = np.full((GAP, *ours.shape[1:]), 255, np.uint8)
        yield image, np.concatenate((ours, white, theirs))


def shown(fed: NDArray[np.generic], manifest: Manifest) -> Picture:
    """The picture uint8 [H, W, 3] that an input was made of: itself, or normalised float32 [3, H, W]."""
    if manifest.options.embed_preprocessing:
        return np.asarray(fed, np.uint8)
    told = manifest.preprocessing
    colours = fed.transpose(1, 2, 0).astype(np.float64) * np.array(told.std) + np.array(told.mean)
    picture: Picture = np.rint(255 * colours).clip(0, 255).astype(np.uint8)
    return picture


def write_each(pictures: Iterable[tuple[str, Picture]], directory: Path) -> tuple[Path, ...]:
    """Write pictures as PNG under their names; a number goes behind one that is taken.

    Raises:
        WriteError: nothing can be written there.
    """
    written: list[Path] = []
    for stem, picture in pictures:
        names = (f"{stem}{f'-{count}' if count else ''}.png" for count in itertools.count())
        path = next(directory / name for name in names if directory / name not in written)
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG")
        files.write(path, content.getvalue())
        written.append(path)
    return tuple(written)
