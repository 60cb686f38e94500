"""Jobs of `all_targets` that write half a bundle and then hang, for tests that end them."""

import os
import time
from pathlib import Path
from typing import Any

from slide_export.bundle.staging import staging


def prepare_one(_: Any) -> dict[str, Any]:
    return {"path": None}


def finish_one(order: Any) -> None:
    out = Path(order["request"]["out"])
    with staging(out / order["request"]["target"], overwrite=True) as directory:
        (directory / "half").touch()
        (out.parent / f"{os.getpid()}.pid").touch()  # ready
        time.sleep(120)
