"""What LiteRT's interpreter is started with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from slide_export.core import typed_json


class Settings(TypedDict):
    """The settings that `lower` writes; a measurement adds how many threads."""

    delegate: Literal["xnnpack", "none"]


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
