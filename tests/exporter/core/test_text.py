"""Text that others wrote is short, on one line and without control characters."""

import pytest

from slide_export.core.errors import CheckpointError
from slide_export.core.text import MOST, foreign


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("layers.0.blocks.1.attn.qkv.weight", "layers.0.blocks.1.attn.qkv.weight"),
        ("ünï 数字 😀", "ünï 数字 😀"),
        ("\x1b[2J\n✓ equal", "\\x1b[2J\\n✓ equal"),
        ("\x9b31m", "\\x9b31m"),  # C1, an escape sequence too
        ("a\u202eb\u2028c", "a\\u202eb\\u2028c"),  # turned round, another line
        ("\udcff", "\\udcff"),  # a byte of a name that is no UTF-8
        (["a", 3], "['a', 3]"),
        (None, "None"),
        (0.5, "0.5"),
        (ValueError("line one\n  line two"), "line one line two"),
    ],
)
def test_what_prints_stays_and_what_does_not_is_escaped(value: object, written: str) -> None:
    assert foreign(value) == written


@pytest.mark.parametrize("value", ["k" * 100_000, "\x1b" * 100_000, list(range(100_000)), {"k" * 1000: "v" * 1000}])
def test_what_is_long_is_cut(value: object) -> None:
    written = foreign(value)
    assert MOST - 4 <= len(written) <= MOST or "..." in written  # an escape is never cut in two
    assert written.isprintable()
    assert len(foreign(value, 20)) <= 20


def test_a_text_of_just_the_length_is_whole() -> None:
    assert foreign("k" * MOST) == "k" * MOST
    assert foreign("k" * (MOST + 1)) == "k" * (MOST - 1) + "…"


def test_nobody_elses_text_is_taken_for_an_option() -> None:
    assert CheckpointError(f"found {foreign(chr(2) + 'keep_fp32' + chr(3))}").on_command_line == (
        "found \\x02keep_fp32\\x03"
    )


def test_a_number_that_python_does_not_write_is_told_by_its_size() -> None:
    assert foreign(10**5000) == "a whole number of 16610 bits"
    assert foreign({"IMG_SIZE": 10**5000}) == "{'IMG_SIZE': a whole number of 16610 bits}"
