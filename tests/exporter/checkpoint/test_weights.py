"""A tensor is finite as a whole or it is refused, and float64 is held against what float32 can store."""

import pytest
import torch

from slide_export.checkpoint.weights import constant, converted, is_finite, refuse_kinds, wholly_absent
from slide_export.core.errors import CheckpointError

LARGE = torch.full((4,), 3e38)  # finite, and the sum is not


@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ([1.0, 2.0], True),
        ([1.0, float("nan")], False),
        ([float("inf"), 2.0], False),
        ([float("inf"), float("-inf")], False),
    ],
)
def test_one_value_that_is_no_number_is_enough(values: list[float], finite: bool) -> None:
    assert is_finite(torch.tensor(values)) is finite


def test_a_sum_that_overflows_and_integers_are_finite() -> None:
    assert not LARGE.sum().isfinite()
    assert is_finite(LARGE)
    assert is_finite(torch.arange(3))


def test_types_that_hold_no_weights_are_refused_by_name() -> None:
    refuse_kinds({"a.weight": torch.zeros(1, dtype=torch.bfloat16), "bn.num_batches_tracked": torch.tensor(3)})
    with pytest.raises(CheckpointError, match=r"a\.weight is of type int8, as a quantized file has it"):
        refuse_kinds({"a.weight": torch.zeros(1, dtype=torch.int8)})
    with pytest.raises(CheckpointError, match=r"without values \(of the meta device\)"):
        refuse_kinds({"a.weight": torch.zeros(1, device="meta")})


def test_conversion_is_said_once_a_type() -> None:
    assert converted({"a": torch.zeros(1), "b": torch.arange(2)}) == ""
    mixed = {name: torch.zeros(1, dtype=kind) for name, kind in (("a", torch.float16), ("b", torch.float64))}
    assert converted(mixed | {"c": mixed["a"]}) == "converted torch.float16, torch.float64 weights to float32"


def test_a_constant_stands_for_what_a_library_leaves_out_as_a_whole() -> None:
    filled = {r".*\.gamma": 1.0, r".*\.beta": 0.0}
    assert constant("norm.gamma", filled) == 1.0
    assert constant("norm.gamma2", filled) is None
    assert wholly_absent(filled, {"norm.gamma": torch.zeros(1)}) == {r".*\.beta": 0.0}
