"""Compressed constants (`constexpr_*`), run-time quantization, and the classifier's last step.

The iOS16 and iOS18 generations of a `constexpr_*` share a name and are told apart by their operands.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS16/constexpr_ops.py`, `iOS17/quantization_ops.py`,
`iOS18/compression.py` (docstrings give the formulas and the packing), `iOS15/classify.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .arguments import Arguments, Kernel, kernel, per_channel
from .blob import unpack_bits
from .program import Value

QUANTIZED_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def _shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
    """`scale * (data - offset)`; one scale serves a block of `data.shape[i] / scale.shape[i]` elements along axis i.

    Given   data  1 2 3 4     scale  10 100     Result  10 20 300 400
    """
    for axis, (size, blocks) in enumerate(zip(data.shape, scale.shape, strict=True)):
        scale = scale.repeat_interleave(size // blocks, axis)  # a block's scale for each of its elements
        offset = offset if offset is None else offset.repeat_interleave(size // blocks, axis)
    shifted = data.to(torch.float32)
    return scale * (shifted if offset is None else shifted - offset.to(torch.float32))


def _affine_dequantize(a: Arguments) -> Tensor:
    data, axis = a.tensor("quantized_data"), a.integer("axis")
    scale, zero = (per_channel(a.tensor(name), data.dim(), axis) for name in ("scale", "zero_point"))
    return scale * (data.to(torch.float32) - zero.to(torch.float32))


def _blockwise_shift_scale(a: Arguments) -> Tensor:
    return _shift_scale(a.tensor("data"), a.tensor("scale"), a.optional("offset"))


def _unpacked(packed: Tensor, bits: int, shape: list[int]) -> Tensor:
    elements = unpack_bits(packed.numpy(), bits, int(np.prod(shape)))
    return torch.from_numpy(elements.reshape(shape))


def _lut_to_dense(a: Arguments) -> Tensor:
    if "shape" in a:  # iOS16: one table for the whole tensor, indices packed into bytes
        table = a.tensor("lut")
        bits = int(table.numel()).bit_length() - 1  # 16 entries: indices of 4 bits
        return table[_unpacked(a.tensor("indices"), bits, a.integers("shape")).to(torch.int64)]
    return _look_up(a.tensor("indices"), a.tensor("lut"), a.integer("vector_axis", 0))


def _look_up(indices: Tensor, tables: Tensor, vector_axis: int) -> Tensor:
    """Each index replaced by its table's entry (iOS18).

        Given   indices  0 1 1 0     tables  (5 6) (7 8), one for each half     Result  5 6 8 7

    Args:
        indices: any shape (d0, d1, ...).
        tables: shape (g0, g1, ..., entries, vector), g dividing d: one table a group.
        vector_axis: the axis along which an entry's `vector` elements are laid.
    """
    for axis, (size, groups) in enumerate(zip(indices.shape, tables.shape, strict=False)):
        tables = tables.repeat_interleave(size // groups, axis)
    vector = tables.shape[-1]
    picks = indices.to(torch.int64)[..., None, None].expand(*indices.shape, 1, vector)
    entries = torch.gather(tables, -2, picks).squeeze(-2)  # (d0, d1, ..., vector)
    axis = vector_axis % indices.dim()
    return entries.movedim(-1, axis + 1).flatten(axis, axis + 1)


def _scatter(values: Tensor, mask: Tensor) -> Tensor:
    """Zeros of the mask's shape with `values` where the mask is set, in row-major order.

    Given   values  7 8     mask  0 1     Result  0 7
                                  1 0             8 0
    """
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask.to(torch.bool)] = values
    return dense


def _sparse_to_dense(a: Arguments) -> Tensor:
    mask = a.tensor("mask")
    if "shape" in a:  # iOS16: the mask is packed into bytes
        mask = _unpacked(mask, 1, a.integers("shape"))
    return _scatter(a.tensor("nonzero_data"), mask)


def _lut_to_sparse(a: Arguments) -> tuple[Value, ...]:
    mask, tables, axis = a.tensor("indices_mask"), a.tensor("lut"), a.integer("vector_axis", 0)
    dense = _look_up(_scatter(a.tensor("indices_nonzero_data"), mask), tables, axis)
    mask = mask.repeat_interleave(tables.shape[-1], axis)  # an index stands for as many elements as an entry has
    return mask, dense[mask.to(torch.bool)]


def _sparse_blockwise_shift_scale(a: Arguments) -> tuple[Value, ...]:
    mask = a.tensor("data_mask")
    dense = _shift_scale(_scatter(a.tensor("nonzero_data"), mask), a.tensor("scale"), a.optional("offset"))
    return mask, dense[mask.to(torch.bool)]


def _constexpr_cast(a: Arguments) -> Tensor:
    a.one_of("output_dtype", None, "fp32")
    return a.tensor("source_val")


def _scale_and_zero(a: Arguments, rank: int) -> tuple[Tensor, Tensor]:
    scale, zero = a.tensor("scale"), a.optional("zero_point")
    zero = torch.zeros(()) if zero is None else zero.to(torch.float32)
    axis = a.integer("axis", 0)
    return per_channel(scale, rank, axis), per_channel(zero, rank, axis)


def _quantize(a: Arguments) -> Tensor:
    x = a.tensor("input")
    scale, zero = _scale_and_zero(a, x.dim())
    low, high = QUANTIZED_RANGES[a.one_of("output_dtype", None, *QUANTIZED_RANGES)]
    return torch.clamp(torch.round(x / scale) + zero, low, high)  # half to even, then the type's range


def _dequantize(a: Arguments) -> Tensor:
    x = a.tensor("input")
    scale, zero = _scale_and_zero(a, x.dim())
    return scale * (x.to(torch.float32) - zero)


def _classify(a: Arguments) -> tuple[Value, ...]:
    """The label of the largest probability, and all probabilities in the order of the classes."""
    probabilities, classes = a.tensor("probabilities").reshape(-1), a.value("classes")
    if not isinstance(classes, list) or len(classes) != probabilities.numel():
        raise a.fail(f"a list of {probabilities.numel()} classes was expected, found {classes!r:.80}")
    label = classes[int(probabilities.argmax())]
    return (label if isinstance(label, str) else torch.tensor(label)), probabilities


TABLE: Mapping[str, Kernel] = {
    "classify": kernel(_classify, "probabilities classes"),
    "constexpr_affine_dequantize": kernel(_affine_dequantize, "quantized_data zero_point scale axis"),
    "constexpr_blockwise_shift_scale": kernel(_blockwise_shift_scale, "data scale offset"),
    "constexpr_cast": kernel(_constexpr_cast, "source_val output_dtype"),
    "constexpr_lut_to_dense": kernel(_lut_to_dense, "indices lut shape vector_axis"),
    "constexpr_lut_to_sparse": kernel(_lut_to_sparse, "indices_mask indices_nonzero_data lut vector_axis"),
    "constexpr_sparse_blockwise_shift_scale": kernel(
        _sparse_blockwise_shift_scale, "data_mask nonzero_data scale offset"
    ),
    "constexpr_sparse_to_dense": kernel(_sparse_to_dense, "nonzero_data mask shape"),
    "dequantize": kernel(_dequantize, "input zero_point scale axis"),
    "quantize": kernel(_quantize, "input zero_point scale axis output_dtype"),
}
