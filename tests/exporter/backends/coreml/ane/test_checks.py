"""Each check just inside and just outside of what the engine takes."""

import math
from typing import Any

import pytest

from slide_export.backends.coreml.ane import checks
from slide_export.backends.coreml.ane.checks import Check
from slide_export.mil.program import Feature

from .statements import SHAPE, Statement, array, program, statement


def found(check: Check, *statements: Statement, **features: Any) -> list[str]:
    return [what for _, what in check(program(*statements, **features))]


def kernel(*weight: int, x: tuple[int, ...] = SHAPE, **operands: Any) -> Statement:
    return statement("conv", x=x, weight=weight, **operands)


def arg(kind: str, x: tuple[int, ...], axis: int) -> Statement:
    return statement(kind, x=x, axis=axis)


def test_operations_are_found_by_their_type() -> None:
    check = checks.operators("gather", "topk")
    assert found(check, statement("gather"), statement("relu")) == ["gather y: fp16[1, 64, 32, 32]"]


@pytest.mark.parametrize(
    ("check", "outside", "inside"),
    [
        (checks.rank, statement("relu", (1,) * 6), statement("relu", (1,) * 5)),
        (checks.extent, statement("relu", (1, 1, 1, 16385)), statement("relu", (1, 1, 1, 16384))),
        (checks.extent, statement("relu", (1, 1, 16385, 1)), statement("relu", (1, 1, 16384, 1))),
        (checks.extent, statement("relu", (1, 65537, 1, 1)), statement("relu", (1, 65536, 1, 1))),
        (checks.extent, statement("relu", (16385,)), statement("relu", (16385, 1, 1, None))),  # a batch; unknown
        (checks.kernel_width, kernel(8, 8, 1, 14), kernel(8, 8, 14, 13)),
        (checks.kernel_width, kernel(8, 8, 14), statement("matmul", weight=(8, 14))),
        (checks.groups, kernel(64, 1, 1, 1, groups=[3]), kernel(64, 1, 1, 1, groups=[32])),
        (checks.groups, kernel(63, 1, 1, 1, groups=[2]), kernel(63, 1, 1, 1)),
        (checks.constants, statement("add", y=65505.0), statement("add", y=[65504.0, -65504.0])),
        (checks.constants, statement("add", y=[0.0, -math.inf]), statement("add", y=70000)),  # a whole number
        (checks.constants, statement("add", y=math.nan), statement("add", y=0.0)),
        (checks.epsilons, statement("layer_norm", epsilon=5.9e-8), statement("layer_norm", epsilon=6.1e-8)),
        (checks.epsilons, statement("batch_norm", epsilon=0.0), statement("softmax", epsilon=0.0)),
        (checks.epsilons, statement("layer_norm", epsilon=1e-9), statement("layer_norm", gamma=1e-9)),
        (checks.epsilons, statement("add", y=5.9e-8), statement("add", y=6.1e-8)),
        (checks.epsilons, statement("maximum", y=-1e-9), statement("maximum", y=0.0)),
        (checks.epsilons, statement("add", y=1e-9), statement("mul", y=1e-9)),
        (checks.epsilons, statement("add", y=[1e-9]), statement("add", y=[1e-9, 1e-9])),
        (checks.multiplier, kernel(65, 1, 3, 3, groups=64), kernel(64, 1, 3, 3, groups=64)),
        (checks.multiplier, kernel(128, 1, 3, 3, groups=64), kernel(128, 2, 3, 3, groups=32)),
        (checks.multiplier, kernel(4, 1, 1, 1, x=(1, 2, 4, 4), groups=2), kernel(4, 1, 1, 1, x=(1, 1, 4, 4), groups=1)),
        (checks.mirrored_pad, statement("pad", mode="reflect"), statement("pad", mode="constant")),
        (checks.mirrored_pad, statement("pad", mode="symmetric"), statement("conv", mode="reflect")),
        (checks.long_arg, arg("reduce_argmax", (1, 2049), 1), arg("reduce_argmax", (2049, 2048), 1)),
        (checks.long_arg, arg("reduce_argmin", (1, 2049), -1), arg("reduce_max", (1, 2049), 1)),
    ],
)  # fmt: skip
def test_the_last_value_inside_and_the_first_outside(check: Check, outside: Statement, inside: Statement) -> None:
    assert len(found(check, outside)) == 1
    assert found(check, inside) == []


@pytest.mark.parametrize(
    ("length", "stride", "hangs"), [(16385, 4, True), (16384, 4, False), (16385, 3, False), (16385, None, False)]
)
def test_a_long_convolution_of_one_axis_with_a_stride(length: int, stride: int | None, hangs: bool) -> None:
    options = {} if stride is None else {"strides": [stride]}
    assert bool(found(checks.long_conv1d, kernel(8, 4, 12, x=(1, 4, length), **options))) is hangs
    assert found(checks.long_conv1d, kernel(8, 4, 1, 12, x=(1, 4, 1, length), **options)) == []


@pytest.mark.parametrize(
    ("kind", "options", "starts_inside"),
    [
        ("slice_by_index", {"begin": [0, 0, 0, 1]}, True),
        ("slice_by_size", {"begin": [0, 0, 0, -2]}, True),
        ("slice_by_index", {"begin": [0, 0, 1, 0]}, False),
        ("slice_by_index", {"begin": [0, 0, 0, 1], "begin_mask": [False, False, False, True]}, False),
        ("slice_by_index", {"begin": [0, 0, 0, 1], "begin_mask": [True, True, True, False]}, True),
        ("slice_by_index", {"begin": [0, 0, 1]}, False),  # of a squeezed axis: not the last one's
        ("slice_by_index", {}, False),
        ("pad", {"begin": [0, 0, 0, 1]}, False),
    ],
)
def test_a_slice_that_starts_inside_the_last_axis(kind: str, options: dict[str, Any], starts_inside: bool) -> None:
    assert bool(found(checks.offset_slice, statement(kind, x=SHAPE, **options))) is starts_inside


def test_float32_is_one_line_where_more_than_half_is() -> None:
    wide, half = statement("relu", element="fp32"), statement("relu")
    assert found(checks.precision, wide, half) == ["relu y: gives fp32"]
    assert found(checks.precision, wide, statement("relu", element="int32"), half) == ["2 of 3 results are fp32, int32"]
    assert found(checks.precision, half) == []


@pytest.mark.parametrize("element", ["fp16", "int8", "uint8", "int16", "uint16", "bool"])
def test_narrow_types_and_scalars_stay_on_the_engine(element: str) -> None:
    half = statement("relu")
    assert found(checks.precision, statement("cast", element=element), half, half) == []
    assert found(checks.precision, statement("shape", (), "int32"), half, half) == []


def test_arrays_of_the_interface_are_float16_or_narrow() -> None:
    image = Feature("photo", "image", "fp32")
    assert found(checks.interface, inputs=[array((1,)), image], outputs=[array((1,), "uint8")]) == []
    assert found(checks.interface, inputs=[array((1,), "fp32")], outputs=[array((1,), "int32")]) == [
        "input x is fp32",
        "output x is int32",
    ]


def test_a_range_of_one_size_is_none() -> None:
    assert found(checks.ranges, inputs=[array((1, 8), ranges=((1, 1), (8, 8)))]) == []
    assert len(found(checks.ranges, inputs=[array((1, 8), ranges=((1, 1), (8, 9)))])) == 1
    assert len(found(checks.ranges, inputs=[array((1, 8), ranges=((1, -1), (8, 8)))])) == 1


@pytest.mark.parametrize(("choices", "count"), [((), 0), (((1, 8),), 0), (((1, 8), (1, 9)), 1)])
def test_a_norm_is_a_fault_from_two_enumerated_shapes_on(choices: tuple[tuple[int, ...], ...], count: int) -> None:
    norms = statement("layer_norm"), statement("relu")
    assert len(found(checks.enumerated_norm, *norms, inputs=[array((1, 8), choices=choices)])) == count


def test_what_is_found_is_said_with_its_numbers() -> None:
    assert found(checks.groups, kernel(64, 1, 1, 1, groups=[3])) == [
        "conv y: 3 groups of 64 input and 64 output channels"
    ]
    assert found(checks.multiplier, kernel(128, 1, 3, 3, groups=64)) == ["conv y: 64 channels, multiplier 2"]
    assert found(checks.constants, statement("add", y=[1.0, 70000.0])) == ["add y: y holds 70000"]
