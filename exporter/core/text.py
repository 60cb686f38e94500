r"""Text that others wrote, made fit for a sentence: keys, names and values of files reach terminals, pages and CI logs.

Given:  an ESC, "[2J", a line feed and "head.weight"
Result: "\x1b[2J\nhead.weight", at most 80 letters
"""

import reprlib
from collections.abc import Mapping, Sequence, Set

MOST = 80  # letters of one name or value in a sentence
SENTENCE = 2100
"""Letters of one cell or sentence: those of the longest message and of the class of its error."""
CUT = "…"


def foreign(value: object, most: int = MOST) -> str:
    """Write a name or a value of somebody else's file: short, on one line, without control characters.

    Args:
        value: text is escaped where it does not print; of an exception its message on one line, of anything else what
            `str` makes of it, without the middle of what is long.
        most: letters of the result.
    """
    text = value if isinstance(value, str) else _text_of(value)
    written, whole = "", len(text) <= most
    for letter in text[: most + 1]:
        escaped = letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        if len(written) + len(escaped) > most:
            whole = False
            break
        written += escaped
    return written if whole else written[: most - len(CUT)] + CUT


class _Short(reprlib.Repr):
    """Python's own shortened form, of whole numbers beyond what Python writes too."""

    def repr_int(self, number: int, _level: int) -> str:
        """Write a number of any length."""
        return _number(number)


def _text_of(value: object) -> str:
    if isinstance(value, int):
        return _number(value)
    try:
        if isinstance(value, Mapping | Sequence | Set):
            return _Short().repr(value)
        return " ".join(str(value).split()) if isinstance(value, BaseException) else str(value)
    except (ValueError, RecursionError):  # a number or a nesting that Python does not write
        return f"a {type(value).__name__} that cannot be written"


def _number(number: int) -> str:
    if number.bit_length() > 1024:  # beyond the range of float64; Python itself writes 4300 digits at most
        return f"a whole number of {number.bit_length()} bits"
    return str(number)
