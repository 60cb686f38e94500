"""Operations that rearrange, join, repeat or create tensors without computing with their elements.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/{tensor_transformation,tensor_operation}.py`,
`iOS16/{tensor_transformation,tensor_operation}.py` and `iOS17/tensor_transformation.py`, classes of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .arguments import Arguments, Kernel, kernel, unary


def _reshape(a: Arguments) -> Tensor:
    """`x` in the given shape; there 0 keeps a dimension of `x`, counted from the right, or is 1 where `x` has none."""
    x, shape = a.tensor("x"), a.integers("shape")
    if 0 in shape and x.numel() > 0:  # in an empty tensor a 0 is a size
        kept = [1] * max(len(shape) - x.dim(), 0) + list(x.shape[max(x.dim() - len(shape), 0) :])
        shape = [size or kept[axis] for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _reshape_like(a: Arguments) -> Tensor:
    shape: list[int] = []
    begins, ends = (torch.stack(a.tensors(name)).tolist() for name in ("begins", "ends"))
    masks = torch.stack(a.tensors("end_masks")).tolist()
    for tensor, begin, end, mask in zip(a.tensors("ref_tensors"), begins, ends, masks, strict=True):
        shape += tensor.shape[begin:] if mask else tensor.shape[begin:end]  # a mask takes all that is left
    return a.tensor("x").reshape(shape)


def _expand_dims(a: Arguments) -> Tensor:
    x, axes = a.tensor("x"), a.integers("axes")
    # Ascending: an axis counts those inserted before it.
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return x.squeeze(tuple(a.integers("axes"))) if "axes" in a else x.squeeze()


def _concat(a: Arguments) -> Tensor:
    values, axis = a.tensors("values"), a.integer("axis")
    if values[0].dim() == 0:  # scalars make a vector
        return torch.stack(values)
    if not a.flag("interleave", False):
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)  # (a0 a1), (b0 b1) -> (a0 b0 a1 b1)


def _stack(a: Arguments) -> Tensor:
    return torch.stack(a.tensors("values"), a.integer("axis"))


def _split(a: Arguments) -> tuple[Tensor, ...]:
    x, axis = a.tensor("x"), a.integer("axis")
    if "split_sizes" in a:
        return torch.split(x, a.integers("split_sizes"), axis)
    return torch.split(x, x.shape[axis] // a.integer("num_splits"), axis)


def _tile(a: Arguments) -> Tensor:
    return a.tensor("x").repeat(a.integers("reps"))


def _pad(a: Arguments) -> Tensor:
    x, pad = a.tensor("x"), a.integers("pad")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    mode = a.one_of("mode", "constant", "constant", "reflect", "replicate")
    if mode == "constant":
        flat = [amount for pair in reversed(pairs) for amount in pair]  # torch names the last axis first
        return functional.pad(x, flat, value=a.number("constant_val", 0.0))
    for axis, (before, after) in enumerate(pairs, x.dim() - len(pairs)):
        if before or after:
            x = x.index_select(axis, _border(x.shape[axis], before, after, mode))
    return x


def _border(size: int, before: int, after: int, mode: str) -> Tensor:
    """Source index of every element of a padded axis, shape (before + size + after,).

    Given   size 3, before 2, after 1     Result  reflect    2 1 0 1 2 1
                                                  replicate  0 0 0 1 2 2
    """
    index = torch.arange(-before, size + after)
    if mode == "reflect":  # the border element itself is not repeated
        index = (size - 1) - ((size - 1) - index.abs()).abs()
    return index.clamp(0, size - 1)


def _reverse(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return x.flip(a.integers("axes", range(x.dim())))


def _fill(a: Arguments) -> Tensor:
    value = a.tensor("value") if "value" in a else torch.zeros(())
    return value.expand(a.integers("shape")).clone()  # expanded alone, all elements would be one in memory


def _fill_like(a: Arguments) -> Tensor:
    value = a.tensor("value") if "value" in a else torch.zeros(())
    return value.expand(a.tensor("ref_tensor").shape).clone()


def _range_1d(a: Arguments) -> Tensor:
    start, end, step = a.tensor("start"), a.tensor("end"), a.tensor("step")
    return torch.arange(start.item(), end.item(), step.item())


def _one_hot(a: Arguments) -> Tensor:
    indices, depth, axis = a.tensor("indices"), a.integer("one_hot_vector_size"), a.integer("axis", -1)
    on, off = a.number("on_value", 1.0), a.number("off_value", 0.0)
    axis %= indices.dim() + 1
    # 0..depth-1 along the new axis.
    classes = torch.arange(depth).reshape([-1 if i == axis else 1 for i in range(indices.dim() + 1)])
    return torch.where(indices.unsqueeze(axis) == classes, on, off)


def _band_part(a: Arguments) -> Tensor:
    x, lower, upper = a.tensor("x"), a.integer("lower", -1), a.integer("upper", -1)
    rows, columns = (torch.arange(size) for size in x.shape[-2:])
    distance = rows[:, None] - columns[None, :]
    # A negative bound keeps its whole triangle.
    band = ((distance <= lower) | (lower < 0)) & ((-distance <= upper) | (upper < 0))
    return torch.where(band, x, torch.zeros_like(x))


def _blocks_out(x: Tensor, block: int, order: Sequence[int]) -> Tensor:
    """Channels moved into blocks of `block` x `block` pixels; `order` says how a channel index splits."""
    batch, channels, height, width = x.shape
    if order == (0, 1):  # block position is the slow part of the channel index
        # -> [B, C', H, b, W, b]
        y = x.reshape(batch, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    else:  # block position is the fast part
        # -> [B, C', H, b, W, b]
        y = x.reshape(batch, channels // block**2, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(batch, channels // block**2, height * block, width * block)


def _depth_to_space(a: Arguments) -> Tensor:
    return _blocks_out(a.tensor("x"), a.integer("block_size"), (0, 1))


def _pixel_shuffle(a: Arguments) -> Tensor:
    return _blocks_out(a.tensor("x"), a.integer("upscale_factor"), (1, 0))


def _space_to_depth(a: Arguments) -> Tensor:
    x, block = a.tensor("x"), a.integer("block_size")
    batch, channels, height, width = x.shape
    # -> [B, b, b, C, H', W']
    y = x.reshape(batch, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(batch, channels * block**2, height // block, width // block)


def _pixel_unshuffle(a: Arguments) -> Tensor:
    return functional.pixel_unshuffle(a.tensor("x"), a.integer("downscale_factor"))


def _space_to_batch(a: Arguments) -> Tensor:
    x, (rows, columns) = a.tensor("x"), a.integers("block_shape")
    top, bottom, left, right = a.integers("paddings")
    x = functional.pad(x, (left, right, top, bottom))
    batch, channels, height, width = x.shape
    # -> [rows, columns, B, C, H', W']
    y = x.reshape(batch, channels, height // rows, rows, width // columns, columns).permute(3, 5, 0, 1, 2, 4)
    return y.reshape(rows * columns * batch, channels, height // rows, width // columns)


def _batch_to_space(a: Arguments) -> Tensor:
    x, (rows, columns) = a.tensor("x"), a.integers("block_shape")
    top, bottom, left, right = a.integers("crops")
    batch, channels, height, width = x.shape
    # -> [B', C, H, rows, W, columns]
    y = x.reshape(rows, columns, batch // (rows * columns), channels, height, width).permute(2, 3, 4, 0, 5, 1)
    y = y.reshape(batch // (rows * columns), channels, height * rows, width * columns)
    return functional.pad(y, (-left, -right, -top, -bottom))  # a negative amount crops


def _flatten2d(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return x.reshape(x.shape[: a.integer("axis", 1)].numel(), -1)  # [product of the axes before, of the rest]


def _sliding_windows(a: Arguments) -> Tensor:
    x, axis = a.tensor("x"), a.integer("axis")
    axis %= x.dim()
    # Torch puts the window last, MIL behind its axis.
    return x.unfold(axis, a.integer("size"), a.integer("stride", 1)).movedim(-1, axis + 1)


TABLE: Mapping[str, Kernel] = {
    "band_part": kernel(_band_part, "x lower upper"),
    "batch_to_space": kernel(_batch_to_space, "x block_shape crops", moves=True),
    "concat": kernel(_concat, "values axis interleave", moves=True),
    "depth_to_space": kernel(_depth_to_space, "x block_size", moves=True),
    "expand_dims": kernel(_expand_dims, "x axes", moves=True),
    "fill": kernel(_fill, "shape value"),
    "fill_like": kernel(_fill_like, "ref_tensor value"),
    "flatten2d": kernel(_flatten2d, "x axis", moves=True),
    "non_zero": unary(torch.nonzero),
    "one_hot": kernel(_one_hot, "indices one_hot_vector_size axis on_value off_value"),
    "pad": kernel(_pad, "x pad mode constant_val", moves=True),
    "pixel_shuffle": kernel(_pixel_shuffle, "x upscale_factor", moves=True),
    "pixel_unshuffle": kernel(_pixel_unshuffle, "x downscale_factor", moves=True),
    "range_1d": kernel(_range_1d, "start end step"),
    "reshape": kernel(_reshape, "x shape", moves=True),
    "reshape_like": kernel(_reshape_like, "x ref_tensors begins ends end_masks", moves=True),
    "reverse": kernel(_reverse, "x axes", moves=True),
    "shape": unary(lambda x: torch.tensor(x.shape)),
    "sliding_windows": kernel(_sliding_windows, "x axis size stride", moves=True),
    "space_to_batch": kernel(_space_to_batch, "x block_shape paddings", moves=True),
    "space_to_depth": kernel(_space_to_depth, "x block_size", moves=True),
    "split": kernel(_split, "x num_splits split_sizes axis", moves=True),
    "squeeze": kernel(_squeeze, "x axes", moves=True),
    "stack": kernel(_stack, "values axis", moves=True),
    "tile": kernel(_tile, "x reps", moves=True),
    "transpose": kernel(lambda a: a.tensor("x").permute(a.integers("perm")), "x perm", moves=True),
}
