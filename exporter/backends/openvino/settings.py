"""What OpenVINO Runtime is started with, as a manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from slide_export.core import typed_json
from slide_export.core.artifact import LARGEST_BATCH
from slide_export.core.typed_json import FieldError, Least, Most, Pattern

from .runtime import CACHE

Device = Annotated[str, Pattern("[A-Z]+[A-Z0-9_.]*(:[A-Z0-9_.,()-]+)?", "the name of an OpenVINO device")]
Batch = Annotated[int, Least(1), Most(LARGEST_BATCH)]


class Config(TypedDict, total=False):
    """Properties that `lower` writes; others name directories, plugins and libraries."""

    INFERENCE_PRECISION_HINT: Literal["f32", "f16", "bf16", "dynamic"]
    EXECUTION_MODE_HINT: Literal["ACCURACY", "PERFORMANCE"]
    CACHE_DIR: str


class OldSettings(TypedDict):
    """The settings that every version's `lower` writes."""

    device: Device
    config: Config


class Settings(OldSettings, total=False):
    """The settings that `lower` writes; of an older version without some."""

    static_batches: tuple[Batch, ...]
    library: Literal["slide_attention.so"]


def refuse_settings(settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse settings that `lower` never writes, and a cache that the export was not asked for."""
    told = typed_json.read(Settings, settings, "artifact.settings")
    cache = told["config"].get(CACHE)
    if cache is not None and options is not None and cache != options.get("cache"):
        where = f"artifact.settings.config.{CACHE}"
        raise FieldError(where, "absent, for the export was asked for no such cache", typed_json.said(cache))


def harmless_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings without the cache, a directory outside the bundle that OpenVINO reads and writes."""
    return {**settings, "config": {name: value for name, value in settings["config"].items() if name != CACHE}}
