"""Class names as editors save them."""

from pathlib import Path

import pytest

from slide_export.calibration.class_names import read_names
from slide_export.core.errors import RequestError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(encoding: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(end.join(("zero", " größer ", "a\u2028b", "")).encode(encoding))
    assert read_names(tmp_path / "labels.txt") == ("zero", "größer", "a\u2028b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "one a line; found none"),
        (b"\n \n", "one a line; found none"),
        ("größer".encode("latin-1"), "save it as UTF-8"),
        (b"a\0b", "control character"),
        (b"\x1b[2J", r"control character in \\x1b\[2J"),
    ],
)
def test_what_holds_no_names_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_names(tmp_path / "labels.txt")


def test_no_file_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent", Path("/dev/zero")):
        with pytest.raises(RequestError, match="expected a text file of class names"):
            read_names(place)
