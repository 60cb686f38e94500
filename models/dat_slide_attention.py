"""Slide attention as DAT++'s repository has it: options for fewer channels, one projection, kernels of the values' own.

A block: no published model has it (stage letter 'E', which no released configuration uses), so no family is made of it.
Its inference form is that of every slide attention, so all lowerings serve it. Maps are channels last here, upstream
takes and gives [B, C, H, W] and returns two Nones beside; of its padding modes zeros alone, the default, is offered.
Source: LeapLabTHU/DAT 32173fc, models/slide.py, SlideAttention.
"""

import torch
from torch import Tensor, nn

from .family import ShapeError
from .slide_attention import (
    FusedSlideAttention,
    TwoPaths,
    every_head,
    head_maps,
    merged,
    refuse_side,
    shift_kernel,
    slide,
)
from .window_attention import linear


class DatSlideAttention(TwoPaths):
    """The train-time form.

    Args:
        dim: channels C.
        heads: number of heads nH.
        kernel_size: side k of the neighbourhood, odd (upstream `ka`).
        dim_reduction: r; attention runs in C/r channels, d = C / r / nH of a head. The scale stays that of C / nH.
        position_bias: whether each head and tap has a bias (upstream `rpb`).
        share_dwc_kernel: whether values share the keys' learned convolution; else theirs is `dep_conv2`.
        share_qkv: whether one projection is query, key and value.

    Raises:
        ShapeError: the channels do not divide, or the neighbourhood has no middle.
    """

    relative_position_bias_table: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        heads: int,
        kernel_size: int = 3,
        *,
        dim_reduction: int = 4,
        position_bias: bool = True,
        share_dwc_kernel: bool = True,
        share_qkv: bool = False,
    ) -> None:
        super().__init__()
        refuse_side(kernel_size)
        if dim % (dim_reduction * heads):
            raise ShapeError(f"{dim} channels, which {heads} heads of a {dim_reduction}th of them do not divide")
        inner = dim // dim_reduction
        self.heads, self.width, self.kernel_size, self.parts = heads, inner // heads, kernel_size, 1 if share_qkv else 3
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, self.parts * inner)
        self.proj = nn.Linear(inner, dim)
        self.dep_conv, self.dep_conv1 = self._depthwise(), self._depthwise()
        self.dep_conv2 = None if share_dwc_kernel else self._depthwise()
        self.dep_conv.weight = nn.Parameter(shift_kernel(self.width, kernel_size), requires_grad=False)
        table = nn.init.trunc_normal_(torch.empty(1, heads, 1, kernel_size**2, 1, 1), std=0.02)
        self.relative_position_bias_table = nn.Parameter(table) if position_bias else None

    def _depthwise(self) -> nn.Conv2d:
        return nn.Conv2d(
            self.width, self.width * self.kernel_size**2, self.kernel_size, padding="same", groups=self.width
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the k*k neighbours: [B, H, W, C] -> [B, H, W, C]."""
        batch, rows, cols, _ = x.shape
        mixed = self.qkv(x)
        q, k, v = head_maps(torch.cat((mixed,) * 3, dim=-1), 1) if self.parts == 1 else head_maps(mixed, self.heads)
        if self.parts == 1:
            q, k, v = (part.reshape(-1, self.width, rows, cols) for part in (q, k, v))  # [B*nH, d, H, W]
        shape = torch.Size((batch, rows, cols, self.heads * self.width))
        return self.proj(slide(q * self.scale, self.keys(k), self.values(v), self._table(), shape))

    def values(self, v: Tensor) -> Tensor:
        """Values of every tap: v [B*nH, d, H, W] -> [B*nH, d*k*k, H, W]."""
        return self.dep_conv(v) + (self.dep_conv1 if self.dep_conv2 is None else self.dep_conv2)(v)

    def fuse(self) -> FusedSlideAttention:
        """Inference form: one convolution for keys, another for values where they do not share it."""
        values = None
        if self.dep_conv2 is not None:
            values = every_head(merged(self.dep_conv, self.dep_conv2), self.heads)
        keys = merged(self.dep_conv, self.dep_conv1)
        return FusedSlideAttention(self._three_parts(), self.proj, keys, self._table(), self.scale, value_conv=values)

    reparameterize = fuse

    def _table(self) -> Tensor:
        table = self.relative_position_bias_table
        return self.proj.weight.new_zeros(1, self.heads, 1, self.kernel_size**2, 1, 1) if table is None else table

    def _three_parts(self) -> nn.Linear:
        """Projection with separate rows for q, k and v, head by head, also where one projection serves as all three."""
        if self.parts == 3:
            return self.qkv

        def tripled(rows: Tensor) -> Tensor:
            """Repeat the rows of each head three times: [nH*d, ...] -> [nH*3*d, ...]."""
            by_head = rows.detach().reshape(self.heads, 1, self.width, *rows.shape[1:])  # [nH, 1, d, ...]
            return by_head.repeat(1, 3, *(1,) * rows.dim()).flatten(0, 2)

        return linear(tripled(self.qkv.weight), tripled(self.qkv.bias))
