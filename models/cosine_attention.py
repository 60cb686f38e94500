"""SwinV2's window attention by cosines, for one view or for two views that look at each other.

    logits of view a   cos(q_a, k_a) exp(min(s_a, log 100)) + 16 sigmoid(MLP(log-spaced offsets)) [+ mask]
    where views mix    cos is a linear map over heads of [cos(q_a, k_a), cos(q_a, k_b)], 2 nH -> nH

A view's values are always its own. Every name of a view's weights ends in its suffix, "_1", "_2", or "" for one view.

Source: prithuls/MV-Swin-T 10fdf46, models/multiviewutils.py, DynamicAttention_multiview, and models/singleviewutils.py,
WindowAttention_singleview; Liu et al., Swin Transformer V2, equations 2 to 4.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import unit
from .window_attention import linear, relative_position_index, split_heads

HIDDEN = 512  # width of the MLP of the position bias
STRONGEST = 100.0  # largest factor of a cosine
HIGHEST_BIAS = 16.0


class CosineAttention(nn.Module):
    """Multi-head cosine attention inside each window, of one or two views.

    Args:
        dim: channels C.
        heads: number of heads nH.
        window: rows and columns of a window; N tokens.
        views: suffixes of the views.
        mixes: whether a view's queries also look at the other view's keys.
    """

    relative_coords_table: Tensor

    def __init__(
        self, dim: int, heads: int, window: tuple[int, int], views: Sequence[str] = ("",), *, mixes: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.views, self.mixes = heads, tuple(views), mixes
        self.register_buffer("relative_coords_table", offsets(window))
        for view in views:
            self.register_parameter(f"logit_scale{view}", nn.Parameter(torch.full((heads, 1, 1), math.log(10))))
            mlp = nn.Sequential(nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, heads, bias=False))
            self.add_module(f"cpb_mlp{view}", mlp)
            self.register_buffer(f"relative_position_index{view}", relative_position_index(window))
            self.add_module(f"qkv{view}", nn.Linear(dim, 3 * dim, bias=False))
            self.register_parameter(f"q_bias{view}", nn.Parameter(torch.zeros(dim)))
            self.register_parameter(f"v_bias{view}", nn.Parameter(torch.zeros(dim)))
            self.add_module(f"proj{view}", nn.Linear(dim, dim))
            if mixes:
                self.add_module(f"proj_concat{view}", nn.Linear(2 * heads, heads))

    def forward(self, windows: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
        """The attended windows of each view, [B*nW, N, C], and a mask [nW, N, N] to add to the logits."""
        parts = []
        for view, x in zip(self.views, windows, strict=True):
            qkv = functional.linear(x, self.get_parameter(f"qkv{view}.weight"), self.qkv_bias(view))
            q, k, v = split_heads(qkv, self.heads)  # [B*nW, nH, N, d]
            parts.append((unit(q), unit(k), v))
        results = []
        for index, view in enumerate(self.views):
            (q, k, v), other = parts[index], parts[1 - index] if self.mixes else None
            cosines = q @ k.transpose(-2, -1)  # [B*nW, nH, N, N]
            if other is not None:
                both = torch.cat((cosines, q @ other[1].transpose(-2, -1)), dim=1)  # [B*nW, 2nH, N, N]
                mix = self.get_submodule(f"proj_concat{view}")
                cosines = mix(both.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            bias = self.bias(view).unsqueeze(0)  # [1, nH, N, N]
            if mask is not None:
                bias = bias + mask.unsqueeze(1)  # [nW, nH, N, N]
            results.append(self.get_submodule(f"proj{view}")(weigh(cosines * self.strength(view), v, bias)))
        return results

    def bias(self, view: str) -> Tensor:
        """The bias of every pair of tokens, [nH, N, N]."""
        table = self.get_submodule(f"cpb_mlp{view}")(self.relative_coords_table).reshape(-1, self.heads)
        index = self.get_buffer(f"relative_position_index{view}")
        return HIGHEST_BIAS * table[index].permute(2, 0, 1).sigmoid()

    def strength(self, view: str) -> Tensor:
        """The factor of each head's cosines, [nH, 1, 1]."""
        return self.get_parameter(f"logit_scale{view}").clamp(max=math.log(STRONGEST)).exp()

    def qkv_bias(self, view: str) -> Tensor:
        """The bias of queries, keys and values, [3C]; keys have none."""
        q, v = self.get_parameter(f"q_bias{view}"), self.get_parameter(f"v_bias{view}")
        return torch.cat((q, torch.zeros_like(q), v))


class FusedCosineAttention(nn.Module):
    """The inference form: position bias and mask in one constant, strengths folded, mixing as a product.

    A 1x1 convolution would mix as well, but ncnn takes the windows for its rows: it has no batch.
    """

    def __init__(self, trained: CosineAttention, mask: Tensor | None) -> None:
        super().__init__()
        self.heads, self.views, self.mixes = trained.heads, trained.views, trained.mixes
        for view in self.views:
            weight = trained.get_parameter(f"qkv{view}.weight").detach()
            self.add_module(f"qkv{view}", linear(weight, trained.qkv_bias(view).detach()))
            self.add_module(f"proj{view}", trained.get_submodule(f"proj{view}"))
            strength, bias = trained.strength(view).detach(), trained.bias(view).detach().unsqueeze(0)
            bias = bias if mask is None else bias + mask.unsqueeze(1)  # [nW, nH, N, N]
            self.register_buffer(f"bias{view}", bias)
            if self.mixes:
                mix = [trained.get_parameter(f"proj_concat{view}.{name}").detach() for name in ("weight", "bias")]
                self.register_buffer(f"mix{view}", mix[0] * strength[:, 0])  # [nH, 2nH]
                self.register_buffer(f"mix_bias{view}", mix[1][:, None] * strength[:, 0])  # [nH, 1]
            else:
                self.register_buffer(f"strength{view}", strength)

    def forward(self, windows: Sequence[Tensor]) -> list[Tensor]:
        """The attended windows of each view, [B*nW, N, C]."""
        parts = []
        for view, x in zip(self.views, windows, strict=True):
            q, k, v = split_heads(self.get_submodule(f"qkv{view}")(x), self.heads)  # [B*nW, nH, N, d]
            q = unit(q) if self.mixes else unit(q) * self.get_buffer(f"strength{view}")
            parts.append((q, unit(k), v))
        results = []
        for index, view in enumerate(self.views):
            q, k, v = parts[index]
            logits = q @ k.transpose(-2, -1)  # [B*nW, nH, N, N]
            if self.mixes:
                other = q @ parts[1 - index][1].transpose(-2, -1)
                both = torch.cat((logits, other), dim=1).flatten(2)  # [B*nW, 2nH, N * N]
                mixed = self.get_buffer(f"mix{view}") @ both + self.get_buffer(f"mix_bias{view}")
                logits = mixed.reshape(-1, self.heads, *logits.shape[2:])
            results.append(self.get_submodule(f"proj{view}")(weigh(logits, v, self.get_buffer(f"bias{view}"))))
        return results


def weigh(logits: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(logits + bias) v as [B*nW, N, C] for [B*nW, nH, N, N], v [B*nW, nH, N, d], bias [nW or 1, nH, N, N]."""
    _, heads, tokens, width = v.shape
    if bias.shape[0] > 1:
        logits = logits.reshape(-1, *bias.shape)  # [B, nW, nH, N, N]
    attention = (logits + bias).reshape(-1, heads, tokens, tokens).softmax(dim=-1)
    return (attention @ v).transpose(1, 2).reshape(-1, tokens, heads * width)


def offsets(window: tuple[int, int]) -> Tensor:
    """What the MLP of the position bias is asked about, [1, 2wh-1, 2ww-1, 2]: offsets on a logarithmic scale.

    sign(o) log2(1 + 8 |o|) / log2(8), o in -1..1. Upstream registers the table under one name for both views, so that
    loading another table into it changes the second view alone; here both views' is this one, whatever a file has.
    """
    axes = (torch.arange(1 - side, side, dtype=torch.float32) / max(side - 1, 1) * 8 for side in window)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).unsqueeze(0)
    return torch.sign(grid) * torch.log2(grid.abs() + 1) / math.log2(8)
