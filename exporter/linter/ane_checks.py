"""What can be read in a saved program about the Neural Engine; `ane.py` says what follows and who says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import torch

from slide_export.mil import Operation

from .mil_view import Program
from .rules import Device

Check = Callable[[Program], Iterator[Device]]

RANK, SIDE, CHANNELS, KERNEL = 5, 16384, 65536, 13
LARGEST, SMALLEST = 65504.0, 6e-8  # of float16: its maximum and its smallest subnormal
ENGINE = frozenset({"fp16", "int8", "uint8", "int16", "uint16", "bool"})
POOLS = ("avg_pool", "max_pool", "l2_pool")
CONV1D_STRIDE, CONV1D_LENGTH = 4, 16384  # the report hangs at stride 6 and length 18001; it gives no threshold
STREAMED = 2 * 2**20  # bytes
LANE = 32  # float16 values in 64 bytes
BYTES = {"fp16": 2, "fp32": 4, "int32": 4, "fp64": 8, "int64": 8}


def operators(*types: str) -> Check:
    """Returns a check: operations of these types."""
    return lambda program: (program.place(op, str(op.outputs[0].type)) for op in program.operations if op.type in types)


def rank(program: Program) -> Iterator[Device]:
    """Yields results above rank 5."""
    for op in program.operations:
        for output in op.outputs:
            if len(output.type.shape) > RANK:
                yield program.place(op, f"rank {len(output.type.shape)}")


def precision(program: Program) -> Iterator[Device]:
    """Yields results that are neither float16 nor a narrow integer; one line where most of the program is so."""
    wide = [
        (op, output.type.element)
        for op in program.operations
        for output in op.outputs
        if output.type.shape and output.type.element not in ENGINE
    ]
    if len(wide) * 2 > len(program.operations):
        kinds = Counter(element for _, element in wide)
        total = sum(bool(output.type.shape) for op in program.operations for output in op.outputs)
        yield "", f"{len(wide)} of {total} results are {', '.join(kinds)}"
        return
    for op, element in wide:
        yield program.place(op, f"gives {element}")


def interface(program: Program) -> Iterator[Device]:
    """Yields array inputs and outputs of a type that the engine does not exchange."""
    for way, features in (("input", program.package.inputs), ("output", program.package.outputs)):
        for feature in features:
            if feature.kind == "array" and feature.element not in ENGINE:
                yield "", f"{way} {feature.name} is {feature.element}"


def ranges(program: Program) -> Iterator[Device]:
    """Yields inputs with a range of sizes."""
    for feature in program.package.inputs:
        if any(low != high for low, high in feature.ranges):
            yield "", f"input {feature.name} has sizes {feature.ranges}, {feature.shape} by default"


def enumerated_norm(program: Program) -> Iterator[Device]:
    """Yields LayerNorms in a program with enumerated shapes."""
    if any(len(feature.choices) > 1 for feature in program.package.inputs):
        yield from operators("layer_norm")(program)


def extent(program: Program) -> Iterator[Device]:
    """Yields results wider, higher or with more channels than the engine's tensors."""
    for op in program.operations:
        for output in op.outputs:
            sides = [size for size in output.type.shape[-2:] if size]
            channels = [size for size in output.type.shape[-3:-2] if size]
            if max(sides, default=0) > SIDE or max(channels, default=0) > CHANNELS:
                yield program.place(op, str(output.type))


def kernel_width(program: Program) -> Iterator[Device]:
    """Yields convolutions with a kernel wider than the M1's."""
    for op in program.operations:
        width = program.shape(op, "weight")[-1:] if op.type == "conv" else ()
        if width and (width[0] or 0) > KERNEL:
            yield program.place(op, f"kernel width {width[0]}")


def groups(program: Program) -> Iterator[Device]:
    """Yields convolutions whose groups do not divide their channels."""
    for op in program.operations:
        if op.type != "conv":
            continue
        inputs, outputs, count = (
            program.shape(op, "x")[1] or 0,
            program.shape(op, "weight")[0] or 0,
            _groups(program, op),
        )
        if inputs % count or outputs % count:
            yield program.place(op, f"{count} groups of {inputs} input and {outputs} output channels")


def constants(program: Program) -> Iterator[Device]:
    """Yields constants that float16 cannot hold."""
    for op, parameter, value in program.floats():
        if value.numel() and not bool((value.abs() <= LARGEST).all()):
            worst = float(value[~(value.abs() <= LARGEST)].reshape(-1)[0])
            yield program.place(op, f"{parameter} holds {worst:g}")


def epsilons(program: Program) -> Iterator[Device]:
    """Yields stabilisers that float16 rounds to zero: an `epsilon`, or a tiny scalar that is added."""
    for op, parameter, value in program.floats():
        size = float(value.abs().max()) if value.numel() == 1 else 1.0
        added = op.type in ("add", "maximum") and 0 < size < SMALLEST
        if added or (parameter == "epsilon" and op.type.endswith("_norm") and size < SMALLEST):
            yield program.place(op, f"{parameter} is {size:g}")


def multiplier(program: Program) -> Iterator[Device]:
    """Yields depthwise convolutions with more than one output channel a group."""
    for op in program.operations:
        count = _groups(program, op) if op.type == "conv" else 1
        outputs = program.shape(op, "weight")[0] if count > 1 else None
        if outputs and program.shape(op, "x")[1] == count and outputs > count:
            yield program.place(op, f"{count} channels, multiplier {outputs // count}")


def mirrored_pad(program: Program) -> Iterator[Device]:
    """Yields pads that mirror the border."""
    for op in program.operations:
        mode = program.constant(op, "mode") if op.type == "pad" else None
        if mode in ("reflect", "symmetric"):
            yield program.place(op, str(mode))


def long_conv1d(program: Program) -> Iterator[Device]:
    """Yields 1-d convolutions with a large stride over a long axis."""
    for op in program.operations:
        shape = program.shape(op, "x") if op.type == "conv" else ()
        strides = program.numbers(op, "strides")
        if len(shape) == 3 and (shape[2] or 0) > CONV1D_LENGTH and max(strides, default=1) >= CONV1D_STRIDE:
            yield program.place(op, f"stride {max(strides):g} over {shape[2]}")


def long_arg(program: Program) -> Iterator[Device]:
    """Yields arg-reductions along more than 2048 values."""
    for op in program.operations:
        axis = program.numbers(op, "axis") if op.type in ("reduce_argmax", "reduce_argmin") else []
        size = program.shape(op, "x")[int(axis[0])] if axis else None
        if size and size > 2048:
            yield program.place(op, f"along {size} values")


def offset_slice(program: Program) -> Iterator[Device]:
    """Yields slices that start inside the last axis."""
    for op in program.operations:
        begin = program.numbers(op, "begin") if op.type in ("slice_by_index", "slice_by_size") else []
        masked = program.constant(op, "begin_mask")
        free = isinstance(masked, torch.Tensor) and bool(masked.reshape(-1)[-1])
        if begin and begin[-1] != 0 and not free and len(begin) == len(program.shape(op, "x")):
            yield program.place(op, f"starts at {begin[-1]:g}")


def _groups(program: Program, op: Operation) -> int:
    return int((program.numbers(op, "groups") or [1])[0])
