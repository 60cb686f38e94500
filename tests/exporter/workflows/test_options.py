"""What an export can be told from Python."""

from typing import Any

import pytest

from slide_export.core.errors import RequestError
from slide_export.workflows.options import request_of


def test_a_misspelt_option_is_refused_with_the_one_that_was_meant() -> None:
    options: Any = {"precison": "fp16"}
    with pytest.raises(RequestError, match=r"found 'precison': did you mean precision\?"):
        request_of("a.pth", "onnx", options)


def test_an_option_like_none_is_refused_with_the_list() -> None:
    options: Any = {"zzz": 1}
    with pytest.raises(RequestError, match="found 'zzz': the options are precision, out, name"):
        request_of("a.pth", "onnx", options)
