"""Rows of a CSV list of images, as spreadsheets and data frames write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slide_export.core.errors import CalibrationError, RequestError
from slide_export.core.text import foreign

from .class_names import read_text

FILE_HEADINGS = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "img", "name")
LABEL_HEADINGS = ("label", "class", "class_name", "classname", "class_id", "category", "target", "y", "label_name")


@dataclass(frozen=True)
class Row:
    """A row of a list.

    Attributes:
        line: its number in the file, from 1.
    """

    line: int
    cells: tuple[str, ...]


def rows(path: Path) -> tuple[Row, ...]:
    """Read the rows that are not empty, the headings among them, without blanks around each cell.

    Raises:
        CalibrationError: the file cannot be read, or a quote in it has no end.
    """
    try:
        reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        found = [Row(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader if any(cells)]
    except (csv.Error, RequestError) as error:
        raise CalibrationError(
            f"expected a CSV list of images, {path} cannot be read: {foreign(error, 200)}"
        ) from error
    for row in found:
        if any("\n" in cell or "\r" in cell for cell in row.cells):
            raise CalibrationError(
                f"expected each row on a line of its own in {path}, found a quote that is open until line {row.line}"
            )
    return tuple(found)


def columns(head: Row, heading: str = "") -> tuple[int, int] | None:
    """Places of file and label in a row of headings; None where the row is none.

    Args:
        heading: of files, where they have one of their own.
    """
    names = [cell.lower().replace(" ", "_") for cell in head.cells]
    file, label = (_first(names, known) for known in (FILE_HEADINGS, LABEL_HEADINGS))
    file = names.index(heading) if heading in names else file
    return None if file is None or label is None else (file, label)


def _first(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((index for index, name in enumerate(names) if name in known), None)
