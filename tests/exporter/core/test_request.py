"""A request tells its checkpoint's part field by field."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slide_export.core.request import CheckpointRequest, ExportRequest


def test_the_checkpoints_part_has_each_field_under_its_own_name() -> None:
    said: dict[str, Any] = {
        "variant": "swin_tiny",
        "weights": "ema",
        "input_size": (64, 32),
        "values": {"a": "1"},
        "comparison": True,
        "families": (SimpleNamespace(name="own"),),
        "tasks": (SimpleNamespace(name="mine"),),
        "weights_key": "net",
        "preprocessing": {"crop": "0.9"},
    }
    found = ExportRequest(Path("a.pth"), **said).source
    assert {field.name: getattr(found, field.name) for field in fields(found)} == {"path": Path("a.pth"), **said}


def test_what_nobody_says_is_the_same_in_both() -> None:
    assert ExportRequest(Path("a.pth")).source == CheckpointRequest(Path("a.pth"))
