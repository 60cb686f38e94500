"""The folding that every form shares: the query scale, the order of the qkv rows, the bias of each head.

What a fused layer stores, and what a form starts from (k*k = 9 taps, nH heads of width d, C = nH * d):

    Given   qkv.weight   [3C, C]        rows in the order (head, q|k|v, channel)
            dep_conv     [d*9, 1, 3, 3] shared by all heads, output channel c*9 + o
            position     [nH, 9]        added to the logits
    Result  qkv_by_part  [3C, C]        rows in the order (q|k|v, head, channel), queries scaled
            tap_kernels  [9, C, 1, 3, 3] one kernel of multiplier 1 for each tap, repeated for each head
            tap_biases   [9, C]         the keys' with the position bias of their head added
"""

import torch
from torch import Tensor, nn

from slide_export.models.slide_attention import FusedSlideAttention
from slide_export.models.window_attention import linear


def qkv_by_part(fused: FusedSlideAttention) -> nn.Linear:
    """Reorder the rows of qkv to (q|k|v, head, channel) and fold the scale into the queries.

    Upstream's order is (head, q|k|v, channel): separating q, k and v there needs a strided view of the whole map.
    """
    heads, width = fused.heads, fused.width

    def reorder(rows: Tensor) -> Tensor:
        """Reorder by (q|k|v, head, channel) and scale the queries: [3C, ...] -> [3C, ...]."""
        parts = rows.detach().reshape(heads, 3, width, -1).transpose(0, 1).clone()  # [3, nH, d, in]
        parts[0] *= fused.scale
        return parts.reshape(rows.shape)

    return linear(reorder(fused.qkv.weight), reorder(fused.qkv.bias))


def tap_kernels(fused: FusedSlideAttention) -> tuple[Tensor, Tensor]:
    """Depthwise kernel of each tap for all channels, of keys and of values, both [k*k, C, 1, k, k]."""
    keys = _by_tap(fused, fused.dep_conv.weight).repeat(1, fused.heads, 1, 1, 1)
    return keys, keys if fused.value_conv is None else _by_tap(fused, fused.value_conv.weight)


def tap_biases(fused: FusedSlideAttention) -> tuple[Tensor, Tensor]:
    """Bias of each tap for keys and for values, both [k*k, C]; a key's carries its head's position bias."""
    shared = _by_tap(fused, _bias(fused.dep_conv)).repeat(1, fused.heads)
    values = shared if fused.value_conv is None else _by_tap(fused, _bias(fused.value_conv))
    return shared + torch.repeat_interleave(fused.relative_position_bias.T, fused.width, dim=1), values


def _by_tap(fused: FusedSlideAttention, stored: Tensor) -> Tensor:
    """Bring the taps to the front: [channels*k*k, ...] -> [k*k, channels, ...]."""
    return stored.detach().reshape(-1, fused.kernel_size**2, *stored.shape[1:]).transpose(0, 1)


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise TypeError("expected a depthwise convolution with a bias, found none")
    return conv.bias


def depthwise(weight: Tensor, bias: Tensor, channels: int) -> nn.Conv2d:
    """Same-size depthwise convolution of `channels` C with weight [C*m, 1, k, k] and bias [C*m]."""
    outputs, _, k, _ = weight.shape
    with torch.device("meta"):
        conv = nn.Conv2d(channels, outputs, k, padding=k // 2, groups=channels)
    conv.weight, conv.bias = (nn.Parameter(value.contiguous(), requires_grad=False) for value in (weight, bias))
    return conv


def pointwise(layer: nn.Linear) -> nn.Conv2d:
    """The linear layer as the 1x1 convolution of a map that is channels first."""
    return grouped_pointwise(layer.weight.detach(), layer.bias.detach(), 1)


def grouped_pointwise(weight: Tensor, bias: Tensor | None, groups: int) -> nn.Conv2d:
    """The 1x1 convolution of weight [out, in / groups] and bias [out]."""
    outputs, inputs = weight.shape
    with torch.device("meta"):
        conv = nn.Conv2d(inputs * groups, outputs, 1, groups=groups, bias=bias is not None)
    conv.weight = nn.Parameter(weight[:, :, None, None].contiguous(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return conv


def head_sums(fused: FusedSlideAttention, per_tap: Tensor, starts: Tensor | None = None) -> nn.Conv2d:
    """The convolution from C channels to nH * taps that sums over a head's channels.

    Args:
        per_tap: weights [taps, C].
        starts: what each sum starts from, [nH * taps]; 0.
    """
    weight = per_tap.reshape(-1, fused.heads, fused.width).transpose(0, 1).flatten(0, 1)  # [nH*taps, d]
    return grouped_pointwise(weight, starts, fused.heads)


def linears(fused: FusedSlideAttention) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """q, k and v as layers of their own: nothing then has to be split."""
    weights, biases = (value.detach().chunk(3) for value in (qkv_by_part(fused).weight, qkv_by_part(fused).bias))
    q, k, v = (linear(weight.clone(), bias.clone()) for weight, bias in zip(weights, biases, strict=True))
    return q, k, v


def relative_to_centre(per_tap: Tensor) -> Tensor:
    """Subtract the centre tap and drop it: [k*k, ...] -> [k*k - 1, ...].

        Given   taps  a  b  c  m  e  f          Result  a-m  b-m  c-m  e-m  f-m

    A softmax does not change when the same is taken from every logit. With the middle tap's taken, its own logit is 0,
    and one tap in k*k need not be computed. Logits are linear in kernel and bias, so both may change here.
    """
    centre = per_tap.shape[0] // 2
    return torch.cat((per_tap[:centre], per_tap[centre + 1 :])) - per_tap[centre]


def offsets(kernel_size: int) -> list[tuple[int, int]]:
    """Rows and columns by which each tap o of k*k looks away from the middle, o // k and o % k less k // 2."""
    half = kernel_size // 2
    return [(o // kernel_size - half, o % kernel_size - half) for o in range(kernel_size**2)]
