"""Images with their classes, from one folder a class or from a CSV list, in the order of the model's head."""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slide_export.core.errors import CalibrationError
from slide_export.core.task import same_file
from slide_export.core.text import foreign
from slide_export.core.whole_number import is_number

from .csv_list import Row, columns, rows
from .images import ImageSet, from_directory, is_there, listed, printed

SampleOf: TypeAlias = Callable[[Path], tuple[Path, ...]]
COLUMNS = (0, 1)  # places of file and label in a list without headings


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSet:
    """Images to score.

    Attributes:
        classes: index of each image's class in the model's head, int64 [N]; None where nobody says.
        names: what each class of the head is called here, "" where no image has it; empty without classes.
        truths: image -> the file of its truth, where that is no class.
    """

    images: ImageSet
    classes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    truths: Mapping[Path, Path] = field(default_factory=dict)

    def digest(self) -> str:
        """sha256 of the images' names and of their classes or truths' names."""
        text = "\n".join(self.images.names()) + "\n" + ("" if self.classes is None else str(self.classes.tolist()))
        text += "".join(f"\n{printed(self.truths[file].name)}" for file in self.images.files if file in self.truths)
        return hashlib.sha256(text.encode()).hexdigest()


def load(
    path: Path, labels: Sequence[str], count: int, sample: SampleOf = same_file, heading: str = ""
) -> EvaluationSet:
    """Load the images at `path` with their classes; a directory without folders has none.

    Args:
        path: a directory with one folder a class, a directory of images without any, or a CSV list.
        labels: the model's class names in the order of its head, where they are known.
        count: classes of the head.
        sample: the file of every input for the first one's; see `Task.sample`.
        heading: of the first input's column in a list, where it has one of its own.

    Raises:
        CalibrationError: the images cannot be found, or their classes are not the model's.
    """
    if path.suffix.lower() == ".csv" and not is_there(path, Path.is_dir):
        return _from_csv(path, labels, count, heading)
    every = from_directory(path)
    images = replace(every, files=tuple(file for file in every.files if sample(file)))
    if not images.files:
        raise CalibrationError(f"expected images that belong together in {path}, found none")
    folders = [_class_folder(sample(file), images.root) for file in images.files]
    inside = [folder for folder in folders if folder]
    if not inside:
        return EvaluationSet(images)
    if len(inside) < len(images.files):
        stray = images.files[folders.index("")]
        raise CalibrationError(f"expected one folder a class in {path}, found {stray.name} outside them")
    order = _order(sorted(set(folders)), labels, count, path)
    return _with_classes(images, [order[folder] for folder in folders], [*map(printed, folders)], count)


def _class_folder(files: Sequence[Path], root: Path) -> str:
    """The first folder below `root` that all files of a sample have in common; "" where there is none.

    Given   malignant/CC/1.png, malignant/MLO/1.png   or   CC/malignant/1.png, MLO/malignant/1.png
    Result  malignant
    """
    columns = zip(*(file.relative_to(root).parts[:-1] for file in files), strict=False)
    return next((names[0] for names in columns if len(set(names)) == 1), "")


def _with_classes(images: ImageSet, classes: Sequence[int], called: Sequence[str], count: int) -> EvaluationSet:
    names = [""] * count
    for index, name in zip(classes, called, strict=True):
        names[index] = name
    return EvaluationSet(images, np.array(classes, np.int64), tuple(names))


def _order(folders: list[str], labels: Sequence[str], count: int, path: Path) -> dict[str, int]:
    """Class of each folder: by the model's labels or its number, or by the order of the names.

    Source: torchvision's ImageFolder, which training code reads its classes with, sorts the names as text.
    """
    if labels:
        return {folder: _class_of(folder, labels, count, str(path)) for folder in folders}
    if len(folders) == count:
        return _by_position(folders, path)
    if all(folder.isdecimal() for folder in folders):
        return {folder: _class_of(folder, (), count, f"the folder {folder} of {path}") for folder in folders}
    raise CalibrationError(
        f"expected {count} class folders in {path}, one a class of the model's head; found {len(folders)}: "
        "give the class names with --labels, or the evaluation set that the model was trained for"
    )


def _by_position(folders: list[str], path: Path) -> dict[str, int]:
    """Class of each folder by its position, refusing numbers that text and value order differently."""
    if all(folder.isdecimal() for folder in folders):
        numeric = sorted(folders, key=int)
        if numeric != folders:
            first = next(index for index, pair in enumerate(zip(folders, numeric, strict=True)) if pair[0] != pair[1])
            raise CalibrationError(
                f"expected one order of the class folders in {path}, found two: class {first} is {folders[first]} as "
                f"text and {numeric[first]} by number; give the order of the model's head with --labels"
            )
    return {folder: index for index, folder in enumerate(folders)}


def _class_of(name: str, labels: Sequence[str], count: int, where: str) -> int:
    """Index in the head of the class with this label or, where no label is alike, this number."""
    if (times := labels.count(name)) > 1:
        raise CalibrationError(
            f"expected one class called {name!r}, as {where} says, found {times} in the labels: call it by its number, "
            f"{' or '.join(str(index) for index, label in enumerate(labels) if label == name)}"
        )
    if times:
        return labels.index(name)
    if is_number(name.removeprefix("-")):
        return _in_range(int(name), count, where)
    if not labels:
        raise CalibrationError(f"expected a class number in {where}, found {foreign(name)!r}: names need --labels")
    close = difflib.get_close_matches(name[:100], labels, n=1)
    first = f"the first of the model's {len(labels)} is {foreign(labels[0])!r}"
    hint = f"did you mean {foreign(close[0])!r}?" if close else first
    raise CalibrationError(f"expected class names of the model in {where}, found {foreign(name)!r}: {hint}")


def _in_range(index: int, count: int, where: str) -> int:
    if 0 <= index < count:
        return index
    counted = " (is it counted from 1?)" if index == count else ""
    raise CalibrationError(f"expected a class from 0 to {count - 1} in {where}, found {index}{counted}")


def _from_csv(path: Path, labels: Sequence[str], count: int, heading: str) -> EvaluationSet:
    """Read a CSV list: file and label, or columns with headings of these; files are relative to the list.

    Raises:
        CalibrationError: it cannot be read, or calls one file by two classes.
    """
    found = list(rows(path))
    places = columns(found[0], heading) if found else None
    if places:
        del found[0]
    if not found:
        raise CalibrationError(f"expected lines of file,label in {path}, found none")
    seen: dict[Path, tuple[int, str, int]] = {}
    for row in found:
        where = f"line {row.line} of {path}"
        name, called = _cells(row, places, where)
        if row is found[0] and not places and not Path(name).suffix:
            where += " (headings that are known: file,label)"
        file, label = listed(path.parent, name, where), _class_of(called, labels, count, where)
        if file in seen and seen[file][0] != label:
            raise CalibrationError(
                f"expected one class of {foreign(name)} in {path}, found {foreign(seen[file][1])} in line "
                f"{seen[file][2]} and {foreign(called)} in line {row.line}"
            )
        seen.setdefault(file, (label, called, row.line))
    if twice := len(found) - len(seen):
        _log.warning("left out %d rows of %s that name a file again", twice, path.name)
    images = ImageSet(path.name, path.parent, tuple(seen))
    classes, names, _ = zip(*seen.values(), strict=True)
    return _with_classes(images, classes, names, count)


def _cells(row: Row, places: tuple[int, int] | None, where: str) -> tuple[str, str]:
    if len(row.cells) <= max(places or COLUMNS) or (places is None and len(row.cells) != len(COLUMNS)):
        raise CalibrationError(f"expected file,label in {where}, found {foreign(','.join(row.cells))!r}")
    file, label = places or COLUMNS
    return row.cells[file], row.cells[label]
