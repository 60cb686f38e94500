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
