"""What an engine is run with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from slide_export.core import typed_json


class Settings(TypedDict):
    """The settings that `lower` writes."""

    flavor: Literal["rtx", "tensorrt"]
    tf32: bool


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
