"""What a session of ONNX Runtime is started with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from slide_export.core import typed_json

Config = TypedDict("Config", {"session.intra_op.allow_spinning": Literal["0", "1"]}, total=False)
"""Entries of ONNX Runtime's session configuration that `lower` writes; others name files and libraries to load."""


class Settings(TypedDict, total=False):
    """The settings that `lower` writes; of an older version without some."""

    optimization: Literal["disable", "basic", "extended", "layout", "all"]
    config: Config
    library: Literal["slide_attention.so"]


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes; see `optional.refuse_settings`."""
    typed_json.read(Settings, settings, "artifact.settings")
