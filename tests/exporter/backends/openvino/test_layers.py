"""Which products of an IR are dense, spatial or of activations, and whether an operand is a weight."""

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from openvino import opset13 as ops

from slide_export.backends.openvino.layers import _is_constant, _product

from .graphs import constant, parameter


def convolution(kernel: int, stride: int) -> object:
    weight = constant(np.ones((2, 3, kernel, kernel)))
    return ops.convolution(parameter(1, 3, 8, 8), weight, [stride] * 2, [0, 0], [0, 0], [1, 1])


@pytest.mark.parametrize(
    ("kernel", "stride", "kind"),
    [(1, 1, "dense"), (4, 4, "dense"), (3, 1, "spatial"), (4, 2, "spatial"), (1, 2, "spatial")],
)
def test_a_convolution_of_patches_or_positions_is_dense(kernel: int, stride: int, kind: str) -> None:
    assert _product(convolution(kernel, stride)) == kind


def test_a_grouped_convolution_is_spatial() -> None:
    weight = constant(np.ones((3, 1, 1, 2, 2)))
    made = ops.group_convolution(parameter(1, 3, 8, 8), weight, [2, 2], [0, 0], [0, 0], [1, 1])
    assert _product(made) == "spatial"


def test_a_product_with_a_weight_is_dense_and_of_two_activations_is_not() -> None:
    x = parameter(2, 3)
    half = ops.convert(constant(np.ones((3, 4)), np.float16), np.float32)
    assert _product(ops.matmul(x, constant(np.ones((3, 4))), False, False)) == "dense"
    assert _product(ops.matmul(x, half, False, False)) == "dense"
    assert _product(ops.matmul(x, ops.relu(x), False, True)) == "activations"
    assert _product(ops.relu(x)) is None


def test_a_weight_is_one_through_what_expands_it() -> None:
    eight = ops.convert(constant(np.ones((2, 3)), np.int8), np.float32)
    scaled = ops.multiply(ops.subtract(eight, constant([[1.0]])), constant([[0.5]]))
    turned = ops.transpose(ops.reshape(scaled, constant([3, 2], np.int64), False), constant([1, 0], np.int64))
    assert _is_constant(turned)
    assert not _is_constant(ops.convert(parameter(2, 3), np.float16))
    assert not _is_constant(ops.relu(constant([1.0])))
