"""Feature pyramid network: maps of one width, from the coarsest down, and levels beyond the last stage.

Source: Lin et al., Feature Pyramid Networks, 2017, figure 3; open-mmlab/mmdetection 3.3.0, models/necks/fpn.py, FPN,
and open-mmlab/mmsegmentation 1.2.2, models/necks/fpn.py: convolutions with a bias and neither norm nor activation.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.family import ShapeError, State
from slide_export.models.layers import Numbered

from .head import convolutions, size_of

LATERAL, OUTPUT = "neck.lateral_convs", "neck.fpn_convs"


@dataclass(frozen=True)
class FpnFields:
    """The neck's part of a configuration.

    Attributes:
        neck_channels: width of every level.
        neck_start: the first stage (0-based) that it takes.
        neck_extra: levels beyond the last stage.
        neck_extra_on: what the first of these convolves: the backbone's last map, or the last level.
    """

    neck_channels: int = 256
    neck_start: int = 0
    neck_extra: int = 0
    neck_extra_on: Literal["input", "output"] = "input"


class BiasedConv(nn.Module):
    """A convolution with a bias under the name `conv`, as upstream's ConvModule without norm has it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: [B, inputs, H, W] -> [B, outputs, ceil(H/stride), ceil(W/stride)]."""
        return self.conv(x)


class Fpn(nn.Module):
    """The neck.

    Args:
        config: its fields.
        widths: channels of the maps of every stage.
    """

    def __init__(self, config: FpnFields, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.start, self.extra, self.on_input = config.neck_start, config.neck_extra, config.neck_extra_on == "input"
        taken, width = widths[config.neck_start :], config.neck_channels
        first = widths[-1] if self.on_input else width
        self.lateral_convs = Numbered(BiasedConv(inputs, width, 1) for inputs in taken)
        beyond = (BiasedConv(width if level else first, width, 3, stride=2) for level in range(config.neck_extra))
        self.fpn_convs = Numbered((*(BiasedConv(width, width, 3) for _ in taken), *beyond))

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Levels [B, C, h, w], fine to coarse, of the maps [B, W, h, w] of every stage."""
        taken = maps[self.start :]
        lateral = [self.lateral_convs(x, level) for level, x in enumerate(taken)]
        for level in range(len(taken) - 1, 0, -1):
            finer = lateral[level - 1]
            lateral[level - 1] = finer + functional.interpolate(lateral[level], size=size_of(finer), mode="nearest")
        levels = [self.fpn_convs(x, level) for level, x in enumerate(lateral)]
        for level in range(len(levels), len(levels) + self.extra):
            first = level == len(taken) and self.on_input
            levels.append(self.fpn_convs(maps[-1] if first else levels[-1], level))
        return tuple(levels)


def infer_fpn(state: State, widths: tuple[int, ...]) -> dict[str, int | str]:
    """The neck's fields that the shapes tell.

    Args:
        widths: channels of the backbone's maps.

    Raises:
        ShapeError: it takes maps that the backbone does not give.
    """
    count, levels = convolutions(state, LATERAL), convolutions(state, OUTPUT)
    taken = tuple(state[f"{LATERAL}.{level}.conv.weight"].shape[1] for level in range(count))
    channels = state[f"{LATERAL}.0.conv.weight"].shape[0]
    start = len(widths) - count
    if start < 0 or widths[start:] != taken or levels < count:
        raise ShapeError(f"a neck of maps {taken} wide, where those of the backbone are {widths}")
    extra = levels - count
    first = state[f"{OUTPUT}.{count}.conv.weight"].shape[1] if extra else widths[-1]
    on = "input" if first == widths[-1] else "output"
    return {"neck_channels": channels, "neck_start": start, "neck_extra": extra, "neck_extra_on": on}
