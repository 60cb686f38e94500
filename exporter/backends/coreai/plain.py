"""What `AIModel(contentsOf:)` computes on an Apple device, as far as anybody can tell without one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

CALL = "AIModel(contentsOf: url)"
WHY = (
    "the program says each type, and the system compiles it for the processor, the GPU or the Neural Engine; only the "
    "interpreter of Core AI's Linux package was run, no Apple device"
)
HALF = "it computes in float16, which was NOT proved here, and no Apple device was run"


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """Core AI has nothing to set that changes a type: a program says what it computes in.

    Source: coreai-core 1.0.0b3, runtime/_specialization_options.py: a compute unit may be preferred, no type.
    """
    takes = f"one call takes {settings['batch'] or 'any number of'} images"
    if "float16" in proved:
        return PlainLoad(CALL, False, {"the precision of the export": "fp32"}, HALF, proved, proved, batch=takes)
    return PlainLoad(CALL, True, {}, WHY, batch=takes)
