"""A manifest's settings are those that `lower` writes; any other could load a file or a library."""

from typing import Any

import pytest

from slide_export.backends.onnx.settings import refuse_settings
from slide_export.core.typed_json import FieldError


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "layout", "all"])
@pytest.mark.parametrize("spinning", ["0", "1"])
def test_what_is_written_is_taken(level: str, spinning: str) -> None:
    refuse_settings({"optimization": level, "config": {"session.intra_op.allow_spinning": spinning}}, None)
    refuse_settings({}, {})


@pytest.mark.parametrize(
    "settings",
    [
        {"optimization": "fast"},
        {"optimization": 1},
        {"config": {"session.intra_op.allow_spinning": "2"}},
        {"config": {"session.load_model_format": "ORT"}},
        {"config": 3},
        {"profile": "/tmp/x"},
    ],
)
def test_what_is_never_written_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=r"artifact\.settings"):
        refuse_settings(settings, None)
