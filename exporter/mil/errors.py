"""The one error of this package."""

from __future__ import annotations


class MilError(RuntimeError):
    """A saved ML Program could not be read or evaluated; says what was expected, what was found, what to do."""
