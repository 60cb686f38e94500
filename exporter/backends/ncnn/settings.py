"""What a network is run with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from slide_export.core import typed_json
from slide_export.core.typed_json import Least, Most

MOST_THREADS = 1024


class NcnnOptions(TypedDict):
    """Fields of `ncnn::Option` that have to be set before a network is loaded; see `runtime.EXACT`."""

    use_fp16_packed: Literal[False]
    use_fp16_storage: Literal[False]
    use_fp16_arithmetic: Literal[False]
    use_bf16_packed: Literal[False]
    use_bf16_storage: Literal[False]


class Settings(TypedDict):
    """The settings that `lower` writes."""

    options: NcnnOptions
    threads: Annotated[int, Least(1), Most(MOST_THREADS)]
    bytes: bool


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes, fp16 above all; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
