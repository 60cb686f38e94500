"""What `Module.load(path)` computes on a phone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

CALL = "Module.load(path)"


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """ExecuTorch has nothing to set: a program says what it computes in.

    Source: ExecuTorch 1.5.1, extension/module/module.h. XNNPACK's kernels for a processor differ by the order of sums.
    """
    takes = f"{settings['largest']} images" if settings["fixed"] else f"1 to {settings['largest']} images"
    return PlainLoad(CALL, True, {}, "a program says what it computes in", batch=f"one call takes {takes}")
