"""Whole numbers in text that somebody wrote."""

MOST_DIGITS = 18  # below 2**63, and far below the 4,300 digits at which `int` itself gives up


def is_number(text: str) -> bool:
    """Whether a text is a whole number in digits 0..9 that `int` reads: "²" and 5,000 digits are none."""
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
