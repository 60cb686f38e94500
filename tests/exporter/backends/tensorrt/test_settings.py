"""A manifest's settings are those that `lower` writes, both of them."""

from typing import Any

import pytest

from slide_export.backends.tensorrt.settings import refuse_settings
from slide_export.core.typed_json import FieldError


@pytest.mark.parametrize("flavor", ["rtx", "tensorrt"])
@pytest.mark.parametrize("tf32", [True, False])
def test_what_is_written_is_taken(flavor: str, tf32: bool) -> None:
    refuse_settings({"flavor": flavor, "tf32": tf32}, None)


@pytest.mark.parametrize(
    "settings",
    [{"flavor": "rtx"}, {"tf32": True}, {"flavor": "other", "tf32": True}, {"flavor": "rtx", "tf32": 1},
     {"flavor": "rtx", "tf32": True, "plugin": "/tmp/x.so"}],
)  # fmt: skip
def test_what_is_never_written_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=r"artifact\.settings"):
        refuse_settings(settings, None)
