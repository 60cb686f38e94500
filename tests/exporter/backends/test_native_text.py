"""What native code prints is kept from the terminal and told afterwards; Python's own stderr comes back."""

import os

import pytest

from slide_export.backends.native_text import native_text


def test_what_is_printed_meanwhile_is_told_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with native_text() as said:
        os.write(2, b"INFO: inside\n")
        assert said() == ""
    os.write(2, b"behind\n")
    assert said() == "INFO: inside"
    assert capfd.readouterr().err == "before\nbehind\n"


def test_it_comes_back_after_a_fault(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="planted"), native_text():
        raise ValueError("planted")
    os.write(2, b"behind\n")
    assert capfd.readouterr().err == "behind\n"
