"""Lists in sentences: the first few of them, and how many more there are."""

from collections.abc import Sequence

LISTED = 8  # items that a sentence names one by one


def listed(items: Sequence[str], separator: str = ", ", most: int = LISTED) -> str:
    """Name the first items and count the rest."""
    rest = len(items) - most
    return separator.join(items[:most]) + (f"{separator}and {rest} more" if rest > 0 else "")
