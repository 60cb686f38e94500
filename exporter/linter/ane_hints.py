"""What a saved program could do faster on the Neural Engine: performance, not placement."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .ane_checks import BYTES, LANE, POOLS, STREAMED
from .mil_view import Program
from .rules import Device


def narrow_axis(program: Program) -> Iterator[Device]:
    """Yields float16 maps whose last axis fills less than 64 bytes."""
    for op in program.operations:
        for output in op.outputs:
            shape = output.type.shape
            if output.type.element == "fp16" and len(shape) > 2 and (shape[-1] or LANE) < LANE:
                yield program.place(op, str(output.type))


def unaligned_interface(program: Program) -> Iterator[Device]:
    """Yields float16 inputs and outputs whose rows are no multiple of 64 bytes."""
    for way, features in (("input", program.package.inputs), ("output", program.package.outputs)):
        for feature in features:
            if feature.kind == "array" and feature.element == "fp16" and feature.shape and feature.shape[-1] % LANE:
                yield "", f"{way} {feature.name} has shape {feature.shape}"


def softmax_axis(program: Program) -> Iterator[Device]:
    """Yields softmaxes along another axis than the channels'."""
    for op in program.operations:
        axis = program.numbers(op, "axis") if op.type == "softmax" else []
        rank = len(program.shape(op, "x"))
        if axis and rank > 3 and int(axis[0]) % rank != rank - 3:
            yield program.place(op, f"along axis {int(axis[0]) % rank} of {program.shape(op, 'x')}")


def streamed(program: Program) -> Iterator[Device]:
    """Yields results of more than 2 MiB."""
    for op in program.operations:
        for output in op.outputs:
            size = math.prod(side or 1 for side in output.type.shape) * BYTES.get(output.type.element, 1)
            if size > STREAMED:
                yield program.place(op, f"{output.type} is {size / 2**20:.1f} MiB")


def strides(program: Program) -> Iterator[Device]:
    """Yields convolutions with strides or dilations that have other factors than 2 and 3."""
    for op in program.operations:
        for parameter in ("strides", "dilations") if op.type in ("conv", "conv_transpose") else ():
            odd = [int(value) for value in program.numbers(op, parameter) if _other_factor(int(value)) > 1]
            if odd:
                yield program.place(op, f"{parameter} of {odd[0]}")


def pool_strides(program: Program) -> Iterator[Device]:
    """Yields strided pools whose stride is neither 2 nor 4."""
    for op in program.operations:
        found = (
            [value for value in program.numbers(op, "strides") if value not in (1, 2, 4)] if op.type in POOLS else []
        )
        if found:
            yield program.place(op, f"stride {found[0]:g}")


def palettized_strides(program: Program) -> Iterator[Device]:
    """Yields convolutions with palettized weights and a stride above 2."""
    for op in program.operations:
        weight = program.source(op, "weight") if op.type == "conv" else None
        if (
            weight is not None
            and weight.type == "constexpr_lut_to_dense"
            and max(program.numbers(op, "strides") or [1]) > 2
        ):
            yield program.place(op, f"stride {max(program.numbers(op, 'strides')):g} with palettized weights")


def batches(program: Program) -> Iterator[Device]:
    """Yields inputs of more than one item."""
    for feature in program.package.inputs:
        if len(feature.shape) > 2 and feature.shape[0] > 1:
            yield "", f"input {feature.name} has batch {feature.shape[0]}"


def _other_factor(value: int) -> int:
    for factor in (2, 3):
        while value and value % factor == 0:
            value //= factor
    return value
