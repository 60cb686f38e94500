"""The constants of an IR as OpenVINO expands them: floats as they are, 8 bits times their scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from openvino import opset13 as ops

from slide_export.backends.openvino.constants import stored
from slide_export.core.stored import StoredConstant

from .graphs import CPU, constant, parameter, product, saved

WEIGHT = np.array([[2, -3], [4, 5], [6, 7]])


def found(path: Path) -> dict[str, StoredConstant]:
    return {each.name: each for each in stored(path, CPU)}


def taking(weight: Any, folder: Path) -> dict[str, StoredConstant]:
    x = parameter(1, 3)
    return found(saved(ops.matmul(x, weight, False, False), [x], folder))


@pytest.mark.parametrize(("half", "kind"), [(False, "float32"), (True, "float16")])
def test_floats_are_given_as_they_are(half: bool, kind: str, tmp_path: Path) -> None:
    constants = found(product(tmp_path, half=half))
    assert {each.stored for each in constants.values()} == {kind}
    (weight,) = (each for name, each in constants.items() if "head.weight" in name)  # in float16 "_compressed" follows
    assert weight.values.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_8_bits_are_times_their_scale_which_is_not_given_again(tmp_path: Path) -> None:
    data = ops.convert(constant(WEIGHT, np.int8, "w"), np.float32)
    constants = taking(ops.multiply(data, constant([[0.5, 2.0]], name="scale")), tmp_path)
    assert set(constants) == {"w"}
    assert constants["w"].stored == "int8"
    assert constants["w"].values.tolist() == (WEIGHT * [0.5, 2.0]).tolist()


def test_a_zero_point_is_subtracted_before(tmp_path: Path) -> None:
    data = ops.convert(constant(WEIGHT + 10, np.uint8, "w"), np.float32)
    centred = ops.subtract(data, ops.convert(constant([[10]], np.uint8, "zero"), np.float32))
    constants = taking(ops.multiply(centred, constant([[0.5]], name="scale")), tmp_path)
    assert set(constants) == {"w"}
    assert constants["w"].values.tolist() == (WEIGHT * 0.5).tolist()


def test_8_bits_that_nothing_multiplies_are_integers_which_are_left_out(tmp_path: Path) -> None:
    assert taking(ops.convert(constant(WEIGHT, np.int8, "w"), np.float32), tmp_path) == {}


def test_8_bits_times_an_activation_have_no_scale(tmp_path: Path) -> None:
    x = parameter(3, 2)
    scaled = ops.multiply(ops.convert(constant(WEIGHT, np.int8, "w"), np.float32), x)
    assert found(saved(scaled, [x], tmp_path)) == {}


def test_shapes_and_axes_are_no_weights(tmp_path: Path) -> None:
    x = parameter(2, 3)
    reshaped = ops.reshape(x, constant([3, 2], np.int64, "shape"), False)
    assert found(saved(reshaped, [x], tmp_path)) == {}
