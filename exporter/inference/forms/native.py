"""Slide attention with its core as one operator, slide_export::SlideAttention, compiled on the user's machine.

Between the products of qkv and proj nothing is left but that operator, in token layout: what the other forms spend on
layouts, sums and a softmax around depthwise convolutions is not there. PyTorch runs the core as convolutions; in a
graph it is the operator, whose arithmetic `native/slide_attention.cpp` has.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.slide_attention import FusedSlideAttention
from slide_export.native import DOMAIN, OPERATOR

from .folding import qkv_by_part, relative_to_centre, tap_biases, tap_kernels


class NativeSlideAttention(nn.Module):
    """Slide attention as one operator between two products."""

    def __init__(self, fused: FusedSlideAttention) -> None:
        super().__init__()
        self.heads, self.width, self.kernel_size = fused.heads, fused.width, fused.kernel_size
        self.qkv, self.proj = qkv_by_part(fused), fused.proj
        (keys, values), (key_biases, value_biases) = tap_kernels(fused), tap_biases(fused)
        keys, values = keys.flatten(2), values.flatten(2)  # [k*k, C, k*k]
        of_values = 1 if fused.value_conv is None else fused.heads
        self.keys = _parameter(relative_to_centre(keys[:, : fused.width]).transpose(1, 2))  # [T - 1, T, d]
        self.key_bias = _parameter(self._by_head(relative_to_centre(key_biases), fused.heads))  # [nH, T - 1, d]
        values = _middle_first(values)[:, : of_values * fused.width]  # [T, nH or 1 * d, T]
        self.values = _parameter(
            values.reshape(len(values), of_values, fused.width, -1).permute(1, 0, 3, 2)
        )  # [nH or 1, T, T, d]
        value_biases = _middle_first(value_biases)[:, : of_values * fused.width]
        self.value_bias = _parameter(self._by_head(value_biases, of_values))  # [nH or 1, T, d]

    def forward(self, x: Tensor) -> Tensor:
        """Attend: x [B, H, W, C] -> [B, H, W, C]."""
        weights = (self.keys, self.key_bias, self.values, self.value_bias)
        core = _Core.apply(self.qkv(x), *weights, self.heads, self.kernel_size)  # type: ignore[no-untyped-call]  # torch's
        return self.proj(core)

    def _by_head(self, per_tap: Tensor, heads: int) -> Tensor:
        """Bring the heads to the front: [taps, heads * d] -> [heads, taps, d]."""
        return per_tap.reshape(-1, heads, self.width).transpose(0, 1)


class _Core(torch.autograd.Function):
    """The operator: what PyTorch computes for it, and what a graph calls it."""

    @staticmethod
    def forward(
        _context: Any,
        qkv: Tensor,
        keys: Tensor,
        key_bias: Tensor,
        values: Tensor,
        value_bias: Tensor,
        heads: int,
        kernel_size: int,
    ) -> Tensor:
        """See `attended`."""
        return attended(qkv, keys, key_bias, values, value_bias, heads, kernel_size)

    @staticmethod
    def symbolic(g: Any, qkv: Any, *rest: Any) -> Any:
        """The operator's node; heads and side of the neighbourhood are attributes. `native.schema` tells its shape."""
        *weights, heads, kernel_size = rest
        out = g.op(f"{DOMAIN}::{OPERATOR}", qkv, *weights, heads_i=heads, kernel_size_i=kernel_size)
        return out.setType(qkv.type().with_sizes([None] * 4)) or out  # else the tracer warns; it gives nothing back


def attended(
    qkv: Tensor, keys: Tensor, key_bias: Tensor, values: Tensor, value_bias: Tensor, heads: int, kernel_size: int
) -> Tensor:
    """The function of the operator: [B, H, W, 3C] -> [B, H, W, C]; the C++ file says what each input is."""
    _, rows, cols, channels = qkv.shape
    dim = channels // 3
    q, k, v = (part.permute(0, 3, 1, 2) for part in qkv.split(dim, dim=-1))  # [B, C, H, W]
    each = heads // len(values)  # heads that one kernel of the values serves

    def seen(x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        """A tap of the map: kernels [k*k, C], bias [C]."""
        weight = kernels.T.reshape(dim, 1, kernel_size, kernel_size)
        return functional.conv2d(x, weight, bias, padding=kernel_size // 2, groups=dim)

    logits = [
        (q * seen(k, kernels.repeat(1, heads), key_bias[:, tap].flatten()))
        .reshape(-1, heads, dim // heads, rows * cols)
        .sum(dim=2)
        for tap, kernels in enumerate(keys)
    ]  # [B, nH, HW]
    weights = torch.stack((torch.zeros_like(logits[0]), *logits), dim=2).softmax(dim=2)  # [B, nH, T, HW]
    by_tap = values.permute(1, 2, 0, 3).flatten(2).repeat(1, 1, each)  # [T, k*k, C]
    biases = value_bias.transpose(0, 1).flatten(1).repeat(1, each)  # [T, C]
    middle, *others = (
        seen(v, *tap).reshape(-1, heads, dim // heads, rows * cols) for tap in zip(by_tap, biases, strict=True)
    )
    shares = weights.split(1, dim=2)[1:]  # the middle tap's is in what the others are relative to
    out = functools.reduce(torch.add, (share * other for share, other in zip(shares, others, strict=True)), middle)
    return out.reshape(-1, dim, rows, cols).permute(0, 2, 3, 1).contiguous()


def _middle_first(per_tap: Tensor) -> Tensor:
    """The middle tap, then the others relative to it: [k*k, ...] -> [k*k, ...]."""
    middle = len(per_tap) // 2
    return torch.cat((per_tap[middle : middle + 1], relative_to_centre(per_tap)))


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.contiguous(), requires_grad=False)
