"""What a package is run with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from slide_export.core import typed_json


class Settings(TypedDict):
    """The settings that `lower` writes."""

    compute_units: Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
    mode: Literal["float32", "typed"]
    bytes: bool
    labels: tuple[str, ...]


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
