"""Where what is kept between runs lies: `~/.cache/slide-export/`.

Source: XDG base directory specification 0.8: a value of XDG_CACHE_HOME that is not absolute is ignored.
"""

import os
from pathlib import Path

from .errors import WriteError

VARIABLE = "XDG_CACHE_HOME"


def place(name: str) -> Path:
    """The file or directory of what `name` keeps; it may not exist.

    Raises:
        WriteError: the user has no home directory, and the variable names no other place.
    """
    given = Path(os.environ.get(VARIABLE, ""))
    try:
        base = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise WriteError(f"expected a home directory or an absolute path in {VARIABLE}, found neither") from None
    return base / "slide-export" / name
