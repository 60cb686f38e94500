"""Settings that would have ncnn compute in fewer bits than were proved are refused, whoever wrote them."""

from typing import Any

import pytest

from slide_export.backends.ncnn.runtime import EXACT
from slide_export.backends.ncnn.settings import MOST_THREADS, NcnnOptions, refuse_settings
from slide_export.core.typed_json import FieldError

SETTINGS: dict[str, Any] = {"options": dict(EXACT), "threads": 1, "bytes": False}


def test_what_is_written_is_taken() -> None:
    assert set(EXACT) == set(NcnnOptions.__annotations__)
    for threads in (1, MOST_THREADS):
        refuse_settings({**SETTINGS, "threads": threads}, None)


@pytest.mark.parametrize("name", sorted(EXACT))
def test_half_precision_is_never_allowed(name: str) -> None:
    with pytest.raises(FieldError, match=name):
        refuse_settings({**SETTINGS, "options": {**EXACT, name: True}}, None)
    with pytest.raises(FieldError, match=name):
        refuse_settings({**SETTINGS, "options": {key: value for key, value in EXACT.items() if key != name}}, None)


@pytest.mark.parametrize(
    "changes", [{"threads": 0}, {"threads": MOST_THREADS + 1}, {"threads": True}, {"bytes": 1}, {"other": 1}]
)
def test_other_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=next(iter(changes))):
        refuse_settings({**SETTINGS, **changes}, None)
