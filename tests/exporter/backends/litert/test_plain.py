"""A file that was proved with XNNPACK is loaded so by default; one proved with LiteRT's own kernels has to be told."""

from pathlib import Path

import pytest

from slide_export.backends.litert.plain import plain_load


@pytest.mark.parametrize(
    ("settings", "same"), [({}, True), ({"delegate": "xnnpack"}, True), ({"delegate": "none"}, False)]
)
def test_xnnpack_is_the_default(settings: dict[str, str], same: bool) -> None:
    found = plain_load(Path("a/model.tflite"), settings, ("float32",))
    assert (found.same, bool(found.options)) == (same, not same)
    assert found.call == 'Interpreter("model.tflite")'
    assert found.batch == "it takes the batch size of the file alone"
