"""Each hint just inside and just outside of what it asks for."""

import pytest
import torch

from slide_export.backends.coreml.ane import hints
from slide_export.backends.coreml.ane.checks import Check
from slide_export.mil import Operation
from slide_export.mil.program import Feature, Literal, MilType, Output, Reference

from .statements import SHAPE, Statement, array, program, statement


@pytest.mark.parametrize(
    ("check", "outside", "inside"),
    [
        (hints.narrow_axis, statement("relu", (1, 1, 31)), statement("relu", (1, 1, 32))),
        (hints.narrow_axis, statement("relu", (1, 1, 1)), statement("relu", (1, 31))),  # no map
        (hints.narrow_axis, statement("relu", (1, 1, 31)), statement("relu", (1, 1, 31), "int8")),
        (hints.narrow_axis, statement("relu", (1, 1, 31)), statement("relu", (1, 1, None))),
        (hints.softmax_axis, statement("softmax", x=SHAPE, axis=-1), statement("softmax", x=SHAPE, axis=1)),
        (hints.softmax_axis, statement("softmax", x=SHAPE, axis=2), statement("softmax", x=SHAPE, axis=-3)),
        (hints.softmax_axis, statement("softmax", x=SHAPE, axis=0), statement("softmax", x=(4, 4, 4), axis=0)),
        (hints.softmax_axis, statement("softmax", x=SHAPE, axis=3), statement("relu", x=SHAPE, axis=3)),
        (hints.streamed, statement("relu", (1, 1, 2**20 + 1)), statement("relu", (1, 1, 2**20))),
        (hints.streamed, statement("relu", (2**19 + 1,), "fp32"), statement("relu", (2**19,), "fp32")),
        (hints.streamed, statement("relu", (2**21 + 1,), "int8"), statement("relu", (None, 2**21), "int8")),
        (hints.streamed, statement("relu", (2**18 + 1,), "int64"), statement("relu", (2**18,), "int64")),
        (hints.strides, statement("conv", strides=[5, 1]), statement("conv", strides=[6, 12])),
        (hints.strides, statement("conv_transpose", dilations=[7]), statement("conv_transpose", dilations=[9])),
        (hints.strides, statement("conv", strides=[10]), statement("max_pool", strides=[10])),
        (hints.pool_strides, statement("max_pool", strides=[3]), statement("max_pool", strides=[1, 2, 4])),
        (hints.pool_strides, statement("avg_pool", strides=[5]), statement("conv", strides=[5])),
        (hints.pool_strides, statement("l2_pool", strides=[8]), statement("l2_pool")),
    ],
)
def test_the_last_value_inside_and_the_first_outside(check: Check, outside: Statement, inside: Statement) -> None:
    assert len(list(check(program(outside)))) == 1
    assert list(check(program(inside))) == []


def test_sizes_are_said_in_mebibytes() -> None:
    ((_, what),) = hints.streamed(program(statement("relu", (3, 2**20), "fp32")))
    assert what == "relu y: fp32[3, 1048576] is 12.0 MiB"


@pytest.mark.parametrize(
    ("feature", "unaligned"),
    [
        (array((1, 31)), True),
        (array((1, 32)), False),
        (array((1, 64)), False),
        (array((1, 33), "uint8"), False),
        (array(()), False),
        (Feature("x", "image", "fp16", (1, 3, 4, 33)), False),
    ],
)
def test_rows_of_the_interface_are_multiples_of_64_bytes(feature: Feature, unaligned: bool) -> None:
    found = list(hints.unaligned_interface(program(inputs=[feature], outputs=[feature])))
    assert [what.partition(" ")[0] for _, what in found] == (["input", "output"] if unaligned else [])


@pytest.mark.parametrize(("shape", "many"), [((2, 3, 4), True), ((1, 3, 4), False), ((2, 3), False)])
def test_a_batch_of_maps_is_more_than_one(shape: tuple[int, ...], many: bool) -> None:
    assert bool(list(hints.batches(program(inputs=[array(shape)])))) is many


@pytest.mark.parametrize(
    ("source", "stride", "slow"),
    [
        ("constexpr_lut_to_dense", 3, True),
        ("constexpr_lut_to_dense", 2, False),
        ("constexpr_lut_to_dense", None, False),
        ("constexpr_affine_dequantize", 3, False),
    ],
)
def test_a_palettized_weight_and_a_stride_above_2(source: str, stride: int | None, slow: bool) -> None:
    weight = Operation(source, "w", {}, {}, (Output("w", MilType("fp16", (8, 8, 1, 1))),))
    operands = {"weight": (Reference("w"),)}
    if stride is not None:
        operands["strides"] = (Literal(MilType("int32", (2,)), torch.tensor([1, stride])),)  # type: ignore[assignment]
    conv = Operation("conv", "y", operands, {}, (Output("y", MilType("fp16", SHAPE)),))
    assert bool(list(hints.palettized_strides(program((weight, {}), (conv, {}))))) is slow
