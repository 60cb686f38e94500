"""Convolutions and pooling over one, two or three spatial dimensions.

Padding is always made explicit. With `same` and an odd amount the extra element goes to the end, with `same_lower` to
the beginning.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/{conv,pool}.py` (docstrings) and `ops/defs/_utils.py`
(`aggregated_pad`, `spatial_dimensions_out_shape`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .arguments import Arguments, Kernel, kernel, per_channel

Margins = list[tuple[int, int]]

CONVOLUTIONS: Sequence[Callable[..., Tensor]] = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED: Sequence[Callable[..., Tensor]] = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)
AVERAGES: Sequence[Callable[..., Tensor]] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
MAXIMA: Sequence[Callable[..., Tensor]] = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)


def margins(a: Arguments, sizes: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> Margins:
    """Padding (before, after) of each spatial dimension.

    5 elements under a kernel of 2 with stride 1 need one more for 5 results: (0, 1) for `same`, (1, 0) for
    `same_lower`.

    Args:
        a: gives `pad_type` and, where it is `custom`, `pad`.
        sizes: spatial sizes of the input.
        kernels: kernel sizes, dilation included.
        strides: strides.
    """
    kind = a.one_of("pad_type", "valid", "valid", "custom", "same", "same_lower")
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        pad = a.integers("pad", [0] * (2 * len(sizes)))
        return list(zip(pad[::2], pad[1::2], strict=True))
    # `same`: ceil(n / s) results, whatever the kernel.
    totals = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, kernels, strides, strict=True)]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if kind == "same" else [(after, before) for before, after in halves]


def _padded(x: Tensor, padding: Margins, fill: float = 0.0) -> Tensor:
    """`x` with its last dimensions padded; negative amounts crop."""
    flat = [amount for pair in reversed(padding) for amount in pair]
    return functional.pad(x, flat, value=fill) if any(flat) else x


def _conv(a: Arguments) -> Tensor:
    x, weight = a.tensor("x"), a.tensor("weight")
    spatial = x.dim() - 2
    strides, dilations = a.integers("strides", [1] * spatial), a.integers("dilations", [1] * spatial)
    # Elements that a dilated kernel spans.
    kernels = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    padding = margins(a, x.shape[2:], kernels, strides)
    amounts: list[int] = [before for before, _ in padding]
    if any(before != after for before, after in padding):  # torch pads both ends alike: other amounts are padded first
        x, amounts = _padded(x, padding), [0] * spatial
    bias, groups = a.optional("bias"), a.integer("groups", 1)
    return CONVOLUTIONS[spatial - 1](x, weight, bias, strides, amounts, dilations, groups)


def _conv_transpose(a: Arguments) -> Tensor:
    x, weight = a.tensor("x"), a.tensor("weight")
    spatial = x.dim() - 2
    strides, dilations = a.integers("strides", [1] * spatial), a.integers("dilations", [1] * spatial)
    full = TRANSPOSED[spatial - 1](x, weight, None, strides, 0, 0, a.integer("groups", 1), dilations)
    y = _padded(full, _cropping(a, x, full, strides))
    bias = a.optional("bias")  # after the crop: an output beyond the full one has the bias too
    return y if bias is None else y + per_channel(bias, y.dim())


def _cropping(a: Arguments, x: Tensor, full: Tensor, strides: Sequence[int]) -> Margins:
    """How much `pad` and `output_shape` take away from each side of the full transposed convolution, as negatives."""
    kind = a.one_of("pad_type", "valid", "valid", "custom", "same")
    sizes = list(full.shape[2:])
    before = [0] * len(sizes)
    if kind == "custom":
        pad = a.integers("pad", [0] * (2 * len(sizes)))
        before = pad[::2]
        sizes = [n - low - high for n, low, high in zip(sizes, before, pad[1::2], strict=True)]
    elif kind == "same":
        sizes = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]  # `same`: n * s results
        # `same`: the surplus evenly, an odd one at the end.
        before = [max(n - size, 0) // 2 for n, size in zip(full.shape[2:], sizes, strict=True)]
    if "output_shape" in a:
        sizes = a.integers("output_shape")[2:]
    return [(-low, low + size - n) for low, size, n in zip(before, sizes, full.shape[2:], strict=True)]


def _windows(a: Arguments, x: Tensor) -> tuple[list[int], list[int], Margins, list[int]]:
    """Kernel sizes, strides, padding, and the elements that `ceil_mode` adds at the end of each dimension."""
    spatial = x.dim() - 2
    kernels = a.integers("kernel_sizes")
    strides = a.integers("strides", [1] * spatial)
    padding = margins(a, x.shape[2:], kernels, strides)
    extra = [0] * spatial
    if a.flag("ceil_mode", False):
        sides = zip(x.shape[2:], kernels, strides, padding, strict=True)
        extra = [_ceil_extra(n, k, s, pad) for n, k, s, pad in sides]
    return kernels, strides, padding, extra


def _ceil_extra(size: int, kernel_size: int, stride: int, pad: tuple[int, int]) -> int:
    """Elements beyond the padding that the last window reaches (`spatial_dimensions_out_shape`, `ceil_mode`)."""
    padded = size + sum(pad)
    windows = math.ceil((padded - kernel_size) / stride) + 1
    # A window that would begin beyond the input is not computed.
    if (windows - 1) * stride >= size + sum(pad) / 2 and sum(pad) > 0:
        windows -= 1
    return max((windows - 1) * stride + kernel_size - padded, 0)


def _beyond(padding: Margins, extra: Sequence[int]) -> Margins:
    return [(before, after + more) for (before, after), more in zip(padding, extra, strict=True)]


def _max_pool(a: Arguments) -> Tensor:
    x = a.tensor("x")
    kernels, strides, padding, extra = _windows(a, x)
    return MAXIMA[x.dim() - 3](_padded(x, _beyond(padding, extra), -math.inf), kernels, strides)  # padding never wins


def _avg_pool(a: Arguments) -> Tensor:
    x = a.tensor("x")
    kernels, strides, padding, extra = _windows(a, x)
    average = AVERAGES[x.dim() - 3]
    mean = average(_padded(x, _beyond(padding, extra)), kernels, strides)
    inside = torch.ones((1, 1, *x.shape[2:]))  # 1 where an element counts: its mean is the share that does
    if a.flag("exclude_padding_from_average", False):
        return mean / average(_padded(inside, _beyond(padding, extra)), kernels, strides)
    if any(extra):  # padding counts, what lies beyond the padding does not
        counted = _padded(_padded(inside, padding, 1.0), [(0, more) for more in extra])
        return mean / average(counted, kernels, strides)
    return mean


def _l2_pool(a: Arguments) -> Tensor:
    x = a.tensor("x")
    kernels, strides, padding, extra = _windows(a, x)
    mean = AVERAGES[x.dim() - 3](_padded(x.square(), _beyond(padding, extra)), kernels, strides)
    return torch.sqrt(mean * math.prod(kernels))  # the sum of a window, from its mean


POOLING = "x kernel_sizes strides pad_type pad ceil_mode"

TABLE: Mapping[str, Kernel] = {
    "avg_pool": kernel(_avg_pool, f"{POOLING} exclude_padding_from_average"),
    "conv": kernel(_conv, "x weight bias strides pad_type pad dilations groups"),
    "conv_transpose": kernel(_conv_transpose, "x weight bias pad output_shape pad_type strides dilations groups"),
    "l2_pool": kernel(_l2_pool, POOLING),
    "max_pool": kernel(_max_pool, POOLING),
}
