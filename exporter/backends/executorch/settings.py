"""What a program is run with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from slide_export.core import typed_json
from slide_export.core.typed_json import Count


class Settings(TypedDict):
    """The settings that `lower` writes.

    Attributes:
        inputs, outputs: names by position: a program has none.
        largest: images in one call at most; memory is planned for that many.
        fixed: whether a call takes that many and no other number.
        delegates: parts that XNNPACK runs.
        shown: PyTorch modules by the value between parts that is their output, "INSTRUCTION.PLACE".
        outside: operators between them, by name and how often; each is a call of ExecuTorch's own kernels.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    largest: Count
    fixed: bool
    delegates: Count
    outside: Mapping[str, Count]
    shown: Mapping[str, tuple[str, ...]]


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
