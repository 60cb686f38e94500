"""A manifest's settings are those that `lower` writes, every one of them."""

from typing import Any

import pytest

from slide_export.backends.coreml.settings import refuse_settings
from slide_export.core.typed_json import FieldError

SOUND: dict[str, Any] = {"compute_units": "ALL", "mode": "typed", "bytes": False, "labels": ["a"]}


@pytest.mark.parametrize("units", ["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"])
@pytest.mark.parametrize("mode", ["float32", "typed"])
def test_what_is_written_is_taken(units: str, mode: str) -> None:
    refuse_settings({**SOUND, "compute_units": units, "mode": mode}, None)


@pytest.mark.parametrize(
    "change",
    [{"compute_units": "NE"}, {"mode": "fp16"}, {"bytes": 1}, {"labels": "a"}, {"labels": [1]}, {"path": "/x"}],
)
def test_what_is_never_written_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=r"artifact\.settings"):
        refuse_settings({**SOUND, **change}, None)


@pytest.mark.parametrize("name", SOUND)
def test_none_may_be_missing(name: str) -> None:
    with pytest.raises(FieldError, match=rf"artifact\.settings\.{name}"):
        refuse_settings({key: value for key, value in SOUND.items() if key != name}, None)
