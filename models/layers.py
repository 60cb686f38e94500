"""Blocks that several families share. Every map is channels last: [B, H, W, C]."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-5  # LayerNorm's own
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}
"""What may stand between an MLP's layers; gelu is the exact (erf) one."""


class Mlp(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        dim: channels C.
        hidden: channels between the layers.
        outputs: channels of the result; None takes `dim`.
        activation: a name of `ACTIVATIONS`; no weight tells which one.
    """

    def __init__(self, dim: int, hidden: int, outputs: int | None = None, *, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, outputs or dim)

    def forward(self, x: Tensor) -> Tensor:
        """The MLP of x [..., C], [..., outputs]."""
        return self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))


class PatchEmbed(nn.Module):
    """Non-overlapping patches through one strided convolution, then LayerNorm.

    Args:
        dim: channels C.
        patch: side of a patch.
        whole: whether rows and columns that make no whole patch are dropped; otherwise zeros complete them.
    """

    def __init__(self, dim: int, patch: int = 4, *, whole: bool = False) -> None:
        super().__init__()
        self.patch, self.whole = patch, whole
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Embed patches by a strided convolution: [B, 3, H, W] -> [B, ceil(H/patch), ceil(W/patch), dim]."""
        if not self.whole:
            rows, cols = images.shape[2:]
            images = pad_end(images, -rows % self.patch, -cols % self.patch, channels_last=False)
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Halve the resolution: each 2x2 square becomes one token of twice the width.

    Source: Swin, `PatchMerging`: the square's tokens are concatenated column by column.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Merge each 2x2 patch: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), 2C]."""
        return self.reduction(self.norm(squares(x)))


class ConvEmbed(nn.Module):
    """Strided convolution that makes a stage's map of images or of the stage before, then LayerNorm.

    Rows and columns that the stride leaves over are dropped, as the sources do.

    Args:
        inputs: channels that come in.
        dim: channels C that go out.
        kernel: side of the kernel; patches do not overlap where it equals the stride.
        stride: rows and columns to the next patch.
        padding: zeros around the map.
        eps: of the LayerNorm.
    """

    def __init__(
        self, inputs: int, dim: int, kernel: int, stride: int, padding: int = 0, *, eps: float = NORM_EPS
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, dim, kernel, stride=stride, padding=padding)
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then normalise channels last: [B, inputs, rows, cols] -> [B, H, W, C]."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class ChannelsLast(nn.Module):
    """Move a convolution's output to the layout of the blocks."""

    def forward(self, x: Tensor) -> Tensor:
        """Move the channels last: [B, C, H, W] -> [B, H, W, C]."""
        return x.permute(0, 2, 3, 1)


class Numbered(nn.Module):
    """Layers under numbers, as `nn.ModuleList` has them, that are called through it: `layers(x, 2)`.

    A container that is never called is no scope of a trace. Where several lists of layers lie side by side, CoreML's
    converter then cannot tell the layers of one number apart, and a diagnosis could not name them.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    def forward(self, x: Tensor, *indices: int) -> Tensor:
        """Run the layer of the first index on x; a layer that is numbered too takes the others."""
        first, *others = indices
        return self.get_submodule(str(first))(x, *others)


def squares(x: Tensor) -> Tensor:
    """Each 2x2 square's tokens, column by column: [B, ceil(H/2), ceil(W/2), 4C] for x [B, H, W, C]."""
    _, rows, cols, dim = x.shape
    x = pad_end(x, rows % 2, cols % 2)
    rows, cols = (rows + 1) // 2, (cols + 1) // 2
    x = x.reshape(-1, rows, 2, cols, 2 * dim)  # [B, H', row parity, W', column parity * C]
    top, bottom = x[:, :, :1], x[:, :, 1:]  # [B, H', 1, W', 2C]; an index instead of a slice would become a Gather
    parts = (top[..., :dim], bottom[..., :dim], top[..., dim:], bottom[..., dim:])
    return torch.cat(parts, dim=-1).reshape(-1, rows, cols, 4 * dim)  # [B, H', W', 4C]


def unit(x: Tensor) -> Tensor:
    """Divide the vectors along x's last axis by their norm, as torch.nn.functional.normalize does.

    Written out, because the exporter makes shape arithmetic of that one's `expand_as`; pnnx knows no `clamp_min`.
    """
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12)


def pad_end(x: Tensor, rows: int, cols: int, *, channels_last: bool = True) -> Tensor:
    """Pad with `rows` and `cols` zeros after the last row and column; x itself when there is nothing to add.

    Source: the detection forks of Swin pad at the bottom and right; the classification code asserts divisibility.
    """
    if not rows and not cols:
        return x
    return functional.pad(x, (0, 0, 0, cols, 0, rows) if channels_last else (0, cols, 0, rows))


def roll(x: Tensor, rows: int, cols: int) -> Tensor:
    """Roll x [B, H, W, C] towards its origin: out(y, x) = in(y + rows, x + cols), cyclic.

    Slices and one concatenation an axis: CoreML turns `torch.roll` into two gathers a roll.
    """
    if rows % x.shape[1]:
        x = torch.cat((x[:, rows:], x[:, :rows]), dim=1)
    if cols % x.shape[2]:
        x = torch.cat((x[:, :, cols:], x[:, :, :cols]), dim=2)
    return x
