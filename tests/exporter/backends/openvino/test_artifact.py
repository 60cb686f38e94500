"""What a lowering asks of the runtime: type of the arithmetic, batches of their own, a cache."""

from typing import Any

import pytest

from slide_export.backends.interface import LoweringOptions
from slide_export.backends.openvino.artifact import _settings, _sizes
from slide_export.core.artifact import LARGEST_BATCH, ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.precision import precision_named


def settings(precision: str, *, batch: int | None = None, **options: str) -> dict[str, Any]:
    given = {"device": "CPU", "cache": "", "static-batches": "1", **options}
    return _settings(LoweringOptions(precision_named(precision), ModelIO(batch=batch), given))


@pytest.mark.parametrize(
    ("precision", "device", "hint"),
    [
        ("fp32", "CPU", "f32"),
        ("fp16", "CPU", "f32"),
        ("int8", "CPU", "f32"),
        ("bf16", "CPU", "bf16"),
        ("fp32", "GPU", "f32"),
        ("fp16", "GPU", "f16"),
        ("w8", "NPU", "f16"),
        ("bf16", "GPU", "bf16"),
    ],
)
def test_a_cpu_computes_in_float32_but_for_bfloat16(precision: str, device: str, hint: str) -> None:
    found = settings(precision, device=device)
    assert found == {"device": device, "config": {"INFERENCE_PRECISION_HINT": hint}, "static_batches": [1]}


def test_a_batch_that_the_export_fixed_is_the_only_one() -> None:
    assert settings("fp32", batch=2)["static_batches"] == []
    assert settings("fp32", **{"static-batches": "8,1"})["static_batches"] == [8, 1]


def test_a_cache_is_set_where_one_is_asked_for() -> None:
    assert settings("fp32", cache="somewhere")["config"]["CACHE_DIR"] == "somewhere"


@pytest.mark.parametrize(
    ("text", "sizes"), [("", []), ("1", [1]), ("1,,8,", [1, 8]), (str(LARGEST_BATCH), [LARGEST_BATCH])]
)
def test_batch_sizes_are_whole_numbers_with_commas_between(text: str, sizes: list[int]) -> None:
    assert _sizes(text) == sizes


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "one", "1 8", "1;8", str(LARGEST_BATCH + 1)])
def test_batch_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=f"none above {LARGEST_BATCH}; found '{text}'"):
        _sizes(text)
