"""Options in messages, as Python and the command line know them."""

import pytest

from slide_export.core.errors import RequestError, option


@pytest.mark.parametrize(
    ("marked", "python", "flag"),
    [(option("keep_fp32"), "keep_fp32", "--keep-fp32"), (option("values", "model"), "values", "--model")],
)
def test_an_option_is_named_as_its_caller_knows_it(marked: str, python: str, flag: str) -> None:
    error = RequestError(f"expected {marked} heads")
    assert (str(error), error.on_command_line) == (f"expected {python} heads", f"expected {flag} heads")
