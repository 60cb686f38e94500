"""What an asset is run with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from slide_export.core import typed_json
from slide_export.core.typed_json import Count


class Settings(TypedDict):
    """The settings that `lower` writes; the program has the same, and says so less clearly.

    Attributes:
        inputs, outputs: names, in the order of the task.
        batch: images in one call, None for any number.
        operations: of the program, without constants.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: Count | None
    operations: Count


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
