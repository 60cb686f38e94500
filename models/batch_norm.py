"""BatchNorm folded into the convolution in front of it, whatever key names the two have."""

import torch
from torch import Tensor, nn


class NormedConvolution(nn.Conv2d):
    """A convolution without bias that keeps the map's size but for its stride, and the BatchNorm behind it.

    Key names have the BatchNorm beside the convolution (`conv1`, `bn1`), so another module registers it and this one
    only applies it: what a convolution gives is the same value before and after folding.

    Args:
        norm: registered by whoever holds this convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: nn.BatchNorm2d, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.beside = (norm,)  # a tuple: a module would be registered here, too

    def forward(self, x: Tensor) -> Tensor:
        """The normed map, [B, outputs, H/stride, W/stride] for x [B, inputs, H, W]."""
        (norm,) = self.beside
        return norm(super().forward(x))

    def fuse(self) -> nn.Conv2d:
        """The convolution that computes both."""
        (norm,) = self.beside
        return fold(self, norm)

    reparameterize = fuse


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution that computes `norm(conv(x))` in eval mode, its weights summed in float64 and rounded once.

    w' = w g / sqrt(var + eps),   b' = (b - mean) g / sqrt(var + eps) + shift
    """
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("expected a BatchNorm with running statistics, found one that norms each batch by itself")
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.detach().double()
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]  # torch's own annotation of the attribute is wider
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        padding_mode=conv.padding_mode,
        device="meta",
    )
    weight = conv.weight.detach().double() * scale[:, None, None, None]
    shift = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
    kind = conv.weight.dtype
    folded.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    folded.bias = nn.Parameter(shift.to(kind), requires_grad=False)
    return folded
