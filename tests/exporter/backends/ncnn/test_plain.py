"""A load without options rounds to float16, and what to set is what was proved with."""

from pathlib import Path

from slide_export.backends.ncnn.plain import plain_load
from slide_export.backends.ncnn.runtime import EXACT


def test_the_options_of_float16_have_to_be_switched_off() -> None:
    found = plain_load(Path("a/model.param"), {"options": dict(EXACT), "threads": 1, "bytes": False}, ("float32",))
    assert found.options == {f"net.opt.use_fp16_{part}": "false" for part in ("packed", "storage", "arithmetic")}
    assert (found.same, found.computed, found.proved) == (False, ("float16",), ("float32",))
    assert found.settings == {"options": {}, "threads": 1, "bytes": False}
    assert found.call == 'net.load_param("model.param"); net.load_model("model.bin")'
    assert found.batch == "it takes one image at a time, without a batch axis"
