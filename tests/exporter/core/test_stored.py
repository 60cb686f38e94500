"""How far a value may be from what is stored of it: what a type rounds to itself, and nothing more."""

import numpy as np
import pytest
import torch

from slide_export.core.stored import StoredConstant, exact, from_table, rounded_float, stepped


def holds(tensor: StoredConstant, source: float) -> bool:
    value = float(np.reshape(tensor.values, -1)[0])
    below, above = (
        float(np.broadcast_to(one, np.shape(tensor.values)).reshape(-1)[0]) for one in (tensor.below, tensor.above)
    )
    return -below <= source - value <= above


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_what_rounds_to_a_float_is_held_and_its_neighbour_is_not(stored: str) -> None:
    generator = np.random.default_rng(0)
    for source in generator.normal(size=200) * 10.0 ** generator.integers(-6, 3, 200):
        value = np.array([source]).astype(stored)
        assert holds(rounded_float("w", stored, value), source)
        beside = np.nextafter(value, np.array([np.inf], stored))
        assert not holds(rounded_float("w", stored, np.nextafter(beside, np.array([np.inf], stored))), source)


def test_what_rounds_to_bfloat16_is_held_and_its_neighbour_is_not() -> None:
    """PyTorch rounds; NumPy has no such type."""
    generator = np.random.default_rng(0)
    sources = generator.normal(size=200) * 10.0 ** generator.integers(-6, 3, 200)
    near = torch.from_numpy(sources).to(torch.bfloat16).float().numpy()
    for source, value in zip(sources, near, strict=True):
        step = np.spacing(np.abs(value)) * 2**16
        assert holds(rounded_float("w", "bfloat16", np.array([value])), source)
        assert not holds(rounded_float("w", "bfloat16", np.array([value + 2 * step], np.float32)), source)
    largest = np.float32(torch.finfo(torch.bfloat16).max)
    assert holds(rounded_float("w", "bfloat16", np.array([largest])), float(largest))
    assert not holds(rounded_float("w", "bfloat16", np.array([0.0], np.float32)), 1e-37)


def test_a_bound_beyond_float16_may_be_infinite_and_a_weight_may_not() -> None:
    bound = rounded_float("clip", "float16", np.array(np.inf, np.float32))
    assert holds(bound, 3.4e38)
    assert not holds(bound, 1.0)
    assert not holds(rounded_float("w", "float16", np.array([np.inf, 1], np.float32)), 70000.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_smallest_float16_may_stand_for_what_is_smaller_in_a_tensor_too(sign: int) -> None:
    least = 2.0**-24
    biases = rounded_float("bias", "float16", np.array([sign * least, 0.5], np.float32))
    assert holds(biases, sign * 2.1e-8)
    assert holds(biases, sign * 1.49 * least)
    assert not holds(biases, sign * 1.51 * least)
    assert not holds(biases, sign * -0.01 * least)
    assert holds(rounded_float("bias", "float16", np.array([0.0, 0.5], np.float32)), sign * 0.49 * least)
    assert not holds(
        rounded_float("bias", "float16", np.array([sign * 2 * least, 0.5], np.float32)), sign * 1.49 * least
    )


@pytest.mark.parametrize("scale", [0.01, -0.01])
def test_a_step_of_integers_is_half_a_scale_and_a_whole_one_at_the_ends(scale: float) -> None:
    inner, end = (stepped("w", "int8", np.array([q], np.int8), np.array(scale), np.zeros(())) for q in (5, 127))
    assert holds(inner, 5.499 * scale)
    assert not holds(inner, 5.51 * scale)
    assert holds(end, 127.99 * scale)
    assert not holds(end, 126.4 * scale)


def test_a_zero_point_is_subtracted() -> None:
    assert holds(stepped("w", "uint8", np.array([130], np.uint8), np.array(0.1), np.array(128.0)), 0.2)


def test_an_entry_of_a_table_holds_what_is_nearest_to_it() -> None:
    table = np.array([0.0, 1.0, 4.0])
    assert holds(from_table("w", "uint8", np.array([1.0]), table), 2.4)
    assert not holds(from_table("w", "uint8", np.array([1.0]), table), 2.6)
    assert holds(from_table("w", "uint8", np.array([4.0]), table), 100.0)


def test_what_is_exact_holds_itself_alone() -> None:
    assert holds(exact("axis", np.array([1])), 1)
    assert not holds(exact("axis", np.array([1])), 2)


@pytest.mark.parametrize(("beyond", "held"), [(0.5009, True), (0.5012, False)])
def test_half_a_step_has_a_thousandth_of_slack(beyond: float, held: bool) -> None:
    """In integers and in tables; a float's own step is at least a thousand times finer than what it holds."""
    integer = stepped("w", "int8", np.array([5], np.int8), np.array(1.0), np.zeros(()))
    assert holds(integer, 5 + beyond) is held
    assert holds(integer, 5 - beyond) is held
    entry = from_table("w", "uint8", np.array([1.0]), np.array([0.0, 1.0, 2.0]))
    assert holds(entry, 1 + beyond) is held
    assert holds(entry, 1 - beyond) is held
    assert holds(rounded_float("w", "float16", np.array([1536.0], np.float16)), 1536 + beyond) is held  # a step is 1


@pytest.mark.parametrize(("stored", "sign"), [("int8", -1), ("int8", 1), ("uint8", 1)])
def test_the_ends_of_a_type_have_a_whole_step_and_its_slack(stored: str, sign: int) -> None:
    end = np.iinfo(stored).min if sign < 0 else np.iinfo(stored).max
    tensor = stepped("w", stored, np.array([end], stored), np.array(1.0), np.zeros(()))
    assert holds(tensor, end + sign * 1.0009)
    assert not holds(tensor, end + sign * 1.0012)


def test_a_scale_in_float16_is_rounded_itself() -> None:
    """Twice its type's epsilon of the value: 100 * 2 * 2^-10 is 0.195 on top of half a step of one."""
    tensor = stepped("w", "int8", np.array([100], np.int8), np.array(1.0), np.zeros(()), scale_type="float16")
    assert holds(tensor, 100.69)
    assert not holds(tensor, 100.70)
    assert not holds(stepped("w", "int8", np.array([100], np.int8), np.array(1.0), np.zeros(())), 100.69)


def test_the_ends_of_a_table_hold_everything_beyond() -> None:
    table = np.array([0.0, 1.0])
    assert holds(from_table("w", "uint8", np.array([0.0]), table), -1e9)
    assert holds(from_table("w", "uint8", np.array([1.0]), table), 1e9)


def test_one_infinite_number_bounds_one_side_and_two_are_no_bound() -> None:
    low = rounded_float("clip", "float16", np.array(-np.inf, np.float32))
    assert holds(low, -3.4e38)
    assert not holds(low, -1.0)
    assert not holds(rounded_float("w", "float16", np.array([np.inf, np.inf], np.float32)), 70000.0)


def test_what_is_stored_says_its_type() -> None:
    assert exact("axis", np.array([1], np.int64)).stored == "int64"
    assert exact("axis", np.array([1]), stored="attribute").stored == "attribute"
    assert exact("axis", np.array([1])).module == ""
    assert rounded_float("w", "float16", np.ones(2, np.float16)).module == ""
    assert stepped("w", "int8", np.ones(2, np.int8), np.array(1.0), np.zeros(())).module == ""
    assert from_table("w", "uint8", np.ones(2), np.ones(1)).module == ""
