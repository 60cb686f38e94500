"""Rows of a list as spreadsheets write them, and which of their columns are a file and a label."""

from pathlib import Path

import pytest

from slide_export.calibration.csv_list import FILE_HEADINGS, LABEL_HEADINGS, Row, columns, rows
from slide_export.core.errors import CalibrationError


def written(text: str | bytes, tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_have_their_line_and_no_blanks_around_a_cell(end: str, tmp_path: Path) -> None:
    path = written(end.join(["file, label", "", " a.png ,cat", ",", '"b, c.png","d ""e"""']), tmp_path)
    assert rows(path) == (
        Row(1, ("file", "label")),
        Row(3, ("a.png", "cat")),
        Row(5, ("b, c.png", 'd "e"')),
    )


def test_a_byte_order_mark_is_no_part_of_the_first_heading(tmp_path: Path) -> None:
    assert rows(written(b"\xef\xbb\xbffile,label\n", tmp_path))[0].cells == ("file", "label")


@pytest.mark.parametrize("text", ['a.png,"cat\nb.png,dog\n', 'a.png,"cat"x\n'])
def test_what_is_no_csv_is_one_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="expected a CSV list of images"):
        rows(written(text, tmp_path))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_closes_lines_later_has_swallowed_rows(end: str, tmp_path: Path) -> None:
    text = end.join(['a.png,"cat', "b.png,dog", 'c.png,x"', "d.png,cat"])
    with pytest.raises(CalibrationError, match=r"found a quote that is open until line 3"):
        rows(written(text, tmp_path))


@pytest.mark.parametrize("file", FILE_HEADINGS)
@pytest.mark.parametrize("label", LABEL_HEADINGS)
def test_each_heading_is_known_in_any_case_and_with_blanks(file: str, label: str) -> None:
    head = Row(1, ("id", label.upper(), file.replace("_", " ").title()))
    assert columns(head) == (2, 1)
    assert columns(Row(1, (file, label))) == (0, 1)


def test_the_first_of_two_columns_of_a_kind_is_taken() -> None:
    assert columns(Row(1, ("path", "file", "class", "label"))) == (0, 2)


def test_a_heading_of_its_own_is_taken_before_the_usual_ones() -> None:
    assert columns(Row(1, ("file", "left", "label")), "left") == (1, 2)
    assert columns(Row(1, ("file", "label")), "left") == (0, 1)


@pytest.mark.parametrize("cells", [("a.png", "cat"), ("file", "cat"), ("a.png", "label"), ()])
def test_a_row_of_no_headings_is_none(cells: tuple[str, ...]) -> None:
    assert columns(Row(1, cells)) is None
