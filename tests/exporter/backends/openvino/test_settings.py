"""A manifest's settings are those that `lower` writes, and a cache is the one that was asked for."""

from typing import Any

import pytest

from slide_export.backends.openvino.settings import harmless_settings, refuse_settings
from slide_export.core.artifact import LARGEST_BATCH
from slide_export.core.typed_json import FieldError

SOUND: dict[str, Any] = {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32"}}


@pytest.mark.parametrize("device", ["CPU", "GPU.1", "AUTO:GPU,CPU", "HETERO:GPU.0,CPU", "MULTI:CPU(2)"])
def test_a_device_is_called_as_openvino_calls_it(device: str) -> None:
    refuse_settings({**SOUND, "device": device}, None)


@pytest.mark.parametrize("batches", [[1], [1, 8], [LARGEST_BATCH]])
def test_batches_may_stand_beside(batches: list[int]) -> None:
    refuse_settings({**SOUND, "static_batches": batches}, None)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"device": "CPU "},
        {"device": "../CPU"},
        {"device": "AUTO:"},
        {"static_batches": [0]},
        {"static_batches": [LARGEST_BATCH + 1]},
        {"config": {"INFERENCE_PRECISION_HINT": "f8"}},
        {"config": {"PLUGIN_PATH": "/tmp/x.so"}},
        {"extension": "/tmp/x.so"},
    ],
)
def test_what_is_never_written_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=r"artifact\.settings"):
        refuse_settings({**SOUND, **change}, None)


@pytest.mark.parametrize(
    ("asked", "refused"), [(None, False), ({"cache": "/kept"}, False), ({"cache": "/other"}, True), ({}, True)]
)
def test_a_cache_is_the_one_of_the_options(asked: dict[str, str] | None, refused: bool) -> None:
    settings = {**SOUND, "config": {"CACHE_DIR": "/kept"}}
    if not refused:
        refuse_settings(settings, asked)
        return
    with pytest.raises(FieldError, match="asked for no such cache"):
        refuse_settings(settings, asked)


def test_a_proof_neither_reads_nor_writes_a_cache() -> None:
    settings = {**SOUND, "config": {"CACHE_DIR": "/kept", "INFERENCE_PRECISION_HINT": "f32"}}
    assert harmless_settings(settings) == SOUND
    assert settings["config"]["CACHE_DIR"] == "/kept"  # a copy
