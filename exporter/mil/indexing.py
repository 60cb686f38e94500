"""Operations that pick elements by position: slices and gathers.

A negative index counts from the end in every opset (iOS17 calls it undefined); one beyond the end is an error here.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/tensor_transformation.py` (`slice_by_index`,
`slice_by_size`), `ops/defs/_utils.py` (`solve_slice_by_index_slice`, `compute_gather`),
`iOS15|iOS16|iOS17/scatter_gather.py`, `iOS18/tensor_transformation.py` (`slice_update`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .arguments import Arguments, Kernel, kernel


def _slices(a: Arguments, x: Tensor) -> tuple[list[range], list[bool]]:
    """The positions that each axis keeps, and which axes are dropped afterwards."""
    rank = x.dim()
    begins, ends, strides = a.integers("begin"), a.integers("end"), a.integers("stride", [1] * rank)
    from_start, to_end = a.flags("begin_mask", rank), a.flags("end_mask", rank)
    squeezed = a.flags("squeeze_mask", rank)
    kept = []
    for axis, size in enumerate(x.shape):
        begin = None if from_start[axis] else begins[axis]
        if squeezed[axis]:
            position = (begin or 0) % size  # one position, whatever its end
            kept.append(range(position, position + 1))
        else:
            end = None if to_end[axis] else ends[axis]
            kept.append(range(*slice(begin, end, strides[axis]).indices(size)))  # Python's rules: clipped to the size
    return kept, squeezed


def _slice_by_index(a: Arguments) -> Tensor:
    x = a.tensor("x")
    kept, squeezed = _slices(a, x)
    for axis, positions in enumerate(kept):
        if positions.step > 0:
            x = x[(slice(None),) * axis + (slice(positions.start, positions.stop, positions.step),)]
        else:  # torch has no negative steps
            x = x.index_select(axis, torch.tensor(list(positions), dtype=torch.int64))
    return x.squeeze(tuple(axis for axis, dropped in enumerate(squeezed) if dropped))


def _slice_update(a: Arguments) -> Tensor:
    x, update = a.tensor("x").clone(), a.tensor("update")
    kept, _ = _slices(a, x)
    positions = [torch.tensor(list(axis), dtype=torch.int64) for axis in kept]
    # Every combination of the kept positions.
    x[torch.meshgrid(*positions, indexing="ij")] = update.reshape([len(axis) for axis in kept])
    return x


def _slice_by_size(a: Arguments) -> Tensor:
    x = a.tensor("x")
    for axis, (begin, size) in enumerate(zip(a.integers("begin"), a.integers("size"), strict=True)):
        start = begin % x.shape[axis]
        x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)  # -1: up to the end
    return x


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Indices as int64 with negative ones counted from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _gather(a: Arguments) -> Tensor:
    """`x` with one axis replaced by the axes of `indices`.

    Case 1, no batch axes: the same indices everywhere, [a, N, b] at [i, j] -> [a, i, j, b].
    Case 2, `batch_dims` leading axes in common: each item has indices of its own, [B, N, b] at [B, i] -> [B, i, b].
    """
    x, indices = a.tensor("x"), a.tensor("indices")
    axis, batch = a.integer("axis", 0) % x.dim(), a.integer("batch_dims", 0)
    if batch == 0:  # case 1
        flat = x.index_select(axis, _wrapped(indices.reshape(-1), x.shape[axis]))
        return flat.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    rows = x.reshape(-1, *x.shape[batch:])  # case 2: the batch axes as one, [items, ...]
    picks = _wrapped(indices.reshape(rows.shape[0], -1), x.shape[axis])  # [items, picked]
    picked = torch.stack([row.index_select(axis - batch, pick) for row, pick in zip(rows, picks, strict=True)])
    return picked.reshape(*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])


def _gather_along_axis(a: Arguments) -> Tensor:
    x, axis = a.tensor("x"), a.integer("axis", 0)
    return torch.gather(x, axis, _wrapped(a.tensor("indices"), x.shape[axis]))


def _gather_nd(a: Arguments) -> Tensor:
    """Elements or slices of `x` at whole positions: the last axis of `indices` is one position, `depth` axes long."""
    x, indices, batch = a.tensor("x"), a.tensor("indices").to(torch.int64), a.integer("batch_dims", 0)
    depth = indices.shape[-1]
    leading = x.shape[:batch]
    rows = x.reshape(-1, *x.shape[batch:])  # [items, ...]
    picks = indices.reshape(rows.shape[0], -1, depth)  # [items, picked, depth]
    picked = torch.stack([row[tuple(pick.unbind(-1))] for row, pick in zip(rows, picks, strict=True)])
    return picked.reshape(*leading, *indices.shape[batch:-1], *x.shape[batch + depth :])


SLICE = "begin end stride begin_mask end_mask squeeze_mask"

# `validate_indices` asks for a check that is always made here.
TABLE: Mapping[str, Kernel] = {
    "gather": kernel(_gather, "x indices axis batch_dims validate_indices", moves=True),
    "gather_along_axis": kernel(_gather_along_axis, "x indices axis validate_indices", moves=True),
    "gather_nd": kernel(_gather_nd, "x indices batch_dims validate_indices", moves=True),
    "slice_by_index": kernel(_slice_by_index, f"x {SLICE}", moves=True),
    "slice_by_size": kernel(_slice_by_size, "x begin size", moves=True),
    "slice_update": kernel(_slice_update, f"x update {SLICE}", moves=True),
}
