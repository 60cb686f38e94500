"""Class names of a text file, one a line, in the order of the model's head."""

from __future__ import annotations

import re
from pathlib import Path

from slide_export.core.errors import RequestError
from slide_export.core.text import foreign

LARGEST_BYTES = 64 << 20  # a list of a million long lines
MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines ends a line at U+2028 and others, which a name may have


def read_text(path: Path) -> str:
    """Read UTF-8 or, where the file begins with a byte order mark, UTF-16; the mark is no part of the text.

    Raises:
        RequestError: the file cannot be read, is too large, or is in another encoding.
    """
    try:
        if not path.is_file():
            raise RequestError("there is no such file")
        if path.stat().st_size > LARGEST_BYTES:
            raise RequestError(f"it has more than {LARGEST_BYTES >> 20} MiB")
        content = path.read_bytes()
        encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{foreign(error, 200)}: save it as UTF-8") from error


def read_names(path: Path) -> tuple[str, ...]:
    """Read the names, without blanks around them and without empty lines.

    Raises:
        RequestError: the file cannot be read, has no name, or one that no metadata can hold.
    """
    try:
        lines = LINE_END.split(read_text(path))
    except RequestError as error:
        raise RequestError(f"expected a text file of class names, {path} cannot be read: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise RequestError(f"expected class names in {path}, one a line; found none")
    if odd := next((name for name in names if any(ord(letter) < 32 or ord(letter) == 127 for letter in name)), None):
        raise RequestError(f"expected class names of letters in {path}, found a control character in {foreign(odd)}")
    return names
