"""Images with their classes, from one folder a class or from a CSV list, in the order of the model's head."""

from __future__ import annotations

import csv
import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slide_export.core.errors import CalibrationError

from .images import ImageSet, from_directory, listed

COLUMNS = ("file", "label")


@dataclass(frozen=True)
class EvaluationSet:
    """Images to score.

    Attributes:
        classes: index of each image's class in the model's head, int64 [N]; None where nobody says.
        names: what each class of the head is called here, "" where no image has it; empty without classes.
    """

    images: ImageSet
    classes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()

    def digest(self) -> str:
        """sha256 of the images' names and classes."""
        text = "\n".join(self.images.names()) + "\n" + ("" if self.classes is None else str(self.classes.tolist()))
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, labels: Sequence[str], count: int) -> EvaluationSet:
    """Load the images at `path` with their classes; a directory without folders has none.

    Args:
        path: a directory with one folder a class, a directory of images without any, or a CSV list.
        labels: the model's class names in the order of its head, where they are known.
        count: classes of the head.

    Raises:
        CalibrationError: the images cannot be found, or their classes are not the model's.
    """
    if path.suffix.lower() == ".csv":
        return _from_csv(path, labels, count)
    images = from_directory(path)
    inside = [file for file in images.files if file.parent != images.root]
    if not inside:
        return EvaluationSet(images)
    if len(inside) < len(images.files):
        stray = next(file for file in images.files if file.parent == images.root)
        raise CalibrationError(f"expected one folder a class in {path}, found {stray.name} outside them")
    folders = [file.relative_to(images.root).parts[0] for file in images.files]
    order = _order(sorted(set(folders)), labels, count, path)
    return _with_classes(images, [order[folder] for folder in folders], folders, count)


def _with_classes(images: ImageSet, classes: list[int], called: Sequence[str], count: int) -> EvaluationSet:
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
    if name.removeprefix("-").isdecimal():
        return _in_range(int(name), count, where)
    if not labels:
        raise CalibrationError(f"expected a class number in {where}, found {name!r}: names need --labels")
    close = difflib.get_close_matches(name, labels, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the first of the model's {len(labels)} is {labels[0]!r}"
    raise CalibrationError(f"expected class names of the model in {where}, found {name!r}: {hint}")


def _in_range(index: int, count: int, where: str) -> int:
    if 0 <= index < count:
        return index
    counted = " (is it counted from 1?)" if index == count else ""
    raise CalibrationError(f"expected a class from 0 to {count - 1} in {where}, found {index}{counted}")


def _from_csv(path: Path, labels: Sequence[str], count: int) -> EvaluationSet:
    """Read a CSV list with the columns file and label; files are relative to the list."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"expected a CSV list of images, {path} cannot be read: {error}") from error
    numbered = [(line, row) for line, row in enumerate(rows, 1) if row]
    if numbered and tuple(cell.strip().lower() for cell in numbered[0][1]) == COLUMNS:
        del numbered[0]
    if not numbered:
        raise CalibrationError(f"expected lines of file,label in {path}, found none")
    files, classes, called = [], [], []
    for line, row in numbered:
        where = f"line {line} of {path}"
        if len(row) != len(COLUMNS):
            raise CalibrationError(f"expected file,label in {where}, found {','.join(row)!r}")
        files.append(listed(path.parent, row[0].strip(), where))
        called.append(row[1].strip())
        classes.append(_class_of(called[-1], labels, count, where))
    return _with_classes(ImageSet(path.name, path.parent, tuple(files)), classes, called, count)
