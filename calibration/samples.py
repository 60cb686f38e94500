"""The files of a sample, one an input of the task; a sample is named by its first file.

a rule       CC/1.png                         ->  CC/1.png, MLO/1.png          (`Task.sample`)
a list       cc,mlo,label / a.png,b.png,1     ->  a.png, b.png                 columns called like the inputs
bundled      astronaut.jpg                    ->  astronaut.jpg, camera.jpg    each photograph and those after it
files        a.png b.png c.png d.png          ->  a.png, b.png; c.png, d.png   in the order of the inputs
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from slide_export.core.errors import CalibrationError
from slide_export.core.text import foreign

from .csv_list import rows
from .images import ImageSet, bundled, is_there, listed

if TYPE_CHECKING:
    from slide_export.core.task import Task

Samples: TypeAlias = Mapping[Path, tuple[Path, ...]]
"""First file -> the file of every input."""


def of_set(images: ImageSet, task: Task) -> tuple[ImageSet, Samples]:
    """The samples of a set: their first files, and the files of those that no rule of the task tells.

    Raises:
        CalibrationError: the set holds none.
    """
    told: Samples = of_list(images.listing, task) if images.listing else {}
    if len(task.inputs) > 1 and images.root == bundled().root:
        told = in_turn(images.files, len(task.inputs))
    files = tuple(told) or tuple(file for file in images.files if task.sample(file))
    if task.measure:
        files = _without_truths(files, task.measure.pair)
    if not files:
        raise CalibrationError(
            f"expected images of {' and '.join(task.inputs)} in {images.source}, found none that belong together"
        )
    return replace(images, files=files), told


def _without_truths(files: tuple[Path, ...], pair: tuple[str, str]) -> tuple[Path, ...]:
    """The files but those of a folder that holds the truths of another one in the set: clean/1.png of noisy/1.png."""
    image_folder, truth_folder = pair
    places = {file.parent for file in files}
    truths = {place for place in places if place.name == truth_folder and place.parent / image_folder in places}
    return tuple(file for file in files if file.parent not in truths)


def of_list(path: Path, task: Task) -> Samples:
    """The rows of a CSV list, where it has a column for every input; else nothing.

    Raises:
        CalibrationError: a file is absent, or one stands beside two others.
    """
    return _columns(path, task.headings)


def truths_of_list(path: Path, pair: tuple[str, str]) -> dict[Path, Path]:
    """Image -> truth, by the rows of a CSV list with both columns; else nothing. Raises as `of_list` does."""
    return {files[0]: files[1] for files in _columns(path, pair).values()}


def _columns(path: Path, headings: Sequence[str]) -> dict[Path, tuple[Path, ...]]:
    if path.suffix.lower() != ".csv" or is_there(path, Path.is_dir):
        return {}
    head, *body = rows(path) or (None,)
    names = [cell.lower() for cell in head.cells] if head else []
    if not set(headings) <= set(names):
        return {}
    places, found = [names.index(name) for name in headings], dict[Path, tuple[Path, ...]]()
    for row in body:
        where = f"line {row.line} of {path}"
        if len(row.cells) <= max(places) or not all(row.cells[place] for place in places):
            raise CalibrationError(f"expected {','.join(headings)} in {where}, found {foreign(','.join(row.cells))!r}")
        files = tuple(listed(path.parent, row.cells[place], where) for place in places)
        if found.setdefault(files[0], files) != files:
            raise CalibrationError(f"expected one row of {foreign(files[0].name)} in {path}, found another in {where}")
    return found


def in_turn(files: Sequence[Path], inputs: int) -> Samples:
    """Each file with those after it, the first ones after the last."""
    return {
        file: tuple(files[(index + step) % len(files)] for step in range(inputs)) for index, file in enumerate(files)
    }


def of_files(files: Sequence[Path], task: Task) -> Samples:
    """Files that were named one by one: by the task's rule, or so many at a time as there are inputs.

    Raises:
        CalibrationError: they are neither.
    """
    count = len(task.inputs)
    if count == 1:
        return {file: (file,) for file in files}
    by_rule = {file: task.sample(file) for file in files}
    if any(by_rule.values()):
        return {file: sample for file, sample in by_rule.items() if sample}
    if len(files) % count:
        raise CalibrationError(
            f"expected images of {' and '.join(task.inputs)} in that order, or in folders by equal names; found "
            f"{len(files)}: {', '.join(foreign(file) for file in files[:3])}"
        )
    return {files[start]: tuple(files[start : start + count]) for start in range(0, len(files), count)}


def truths_of_folders(files: Iterable[Path], pair: tuple[str, str]) -> dict[Path, Path]:
    """Image -> truth, for files in folders that are called like the pair: `noisy/1.png` -> `clean/1.png`.

    A truth may have another ending: `images/1.jpg` -> `labels/1.png`.

    Raises:
        CalibrationError: an image of such a folder has no truth.
    """
    image_folder, truth_folder = pair
    found = {}
    for file in files:
        if file.parent.name != image_folder:
            continue
        place = file.parents[1] / truth_folder
        truth = next((each for each in (place / file.name, *_same_stem(place, file.stem)) if each.is_file()), None)
        if truth is None:
            raise CalibrationError(
                f"expected {foreign(file.name)} in {foreign(place)} too, found none: a truth has its image's name"
            )
        found[file] = truth
    return found


def _same_stem(place: Path, stem: str) -> list[Path]:
    return sorted(each for each in place.glob("*") if each.stem == stem) if place.is_dir() else []
