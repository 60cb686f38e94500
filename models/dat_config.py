"""The numbers of a DAT or DAT++, and what upstream's code refuses of them.

Source: LeapLabTHU/DAT 566a593 (DAT) and 32173fc (DAT++), models/dat.py and configs/.
"""

import math
from dataclasses import dataclass, replace

from .dat_blocks import refuse_remainder
from .deformable_attention import DeformableShape
from .family import ShapeError

PATCH = 4
LETTERS = "LSND"  # of attention: windows, shifted windows, neighbourhoods, deformable
LOCAL = "LS"  # those with windows
STRIDES = {False: (1, 1, 1, 1), True: (8, 4, 2, 1)}  # of the points of each stage, in every published DAT and DAT++
FACTORS = {False: 2.0, True: -1.0}  # of the offsets
KERNELS = (9, 7, 5, 3)  # of the offsets' convolutions


@dataclass(frozen=True)
class DatConfig:
    """The numbers of one DAT or DAT++; a tuple has one of each stage.

    Attributes:
        dims: channels of each stage, which double.
        blocks: the letters of each stage's blocks.
        plus_plus: which generation of upstream's code, and so which deformable attention.
        groups: of channels with offsets of their own.
        strides: of the grids of points.
        offset_kernels: sides of the convolutions that make offsets.
        offset_factors: how far offsets reach.
        biased: whether deformable attention has position biases.
        still: whether its points do not move (upstream `no_offs`).
        windows: sides of the windows of L and S.
        neighborhoods: sides of the neighbourhoods of N.
        depthwise_mlps: whether the MLPs have a convolution.
        perception_units: whether a convolution stands before every attention.
        layer_scales: whether residuals have learned factors.
        conv_patches: whether patches overlap, and a stage begins with a 3x3 convolution.
        mlp_ratio: hidden width of the MLPs over the stage's.
        bias_size: rows and columns of the input that DAT++'s position biases were made for; None: of this input.
        image_size: rows and columns of the input.
    """

    dims: tuple[int, ...]
    blocks: tuple[str, ...]
    heads: tuple[int, ...]
    plus_plus: bool
    groups: tuple[int, ...]
    strides: tuple[int, ...]
    offset_factors: tuple[float, ...]
    offset_kernels: tuple[int, ...] = KERNELS
    biased: tuple[bool, ...] = (True,) * 4
    still: tuple[bool, ...] = (False,) * 4
    windows: tuple[int, ...] = (7,) * 4
    neighborhoods: tuple[int, ...] = (7,) * 4
    depthwise_mlps: tuple[bool, ...] = (False,) * 4
    perception_units: tuple[bool, ...] = (False,) * 4
    layer_scales: tuple[bool, ...] = (False,) * 4
    conv_patches: bool = False
    mlp_ratio: int = 4
    bias_size: tuple[int, int] | None = None
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of the map of a stage (0-based): overlapping patches round up, others drop a remainder."""
        stride = PATCH << stage
        rows, cols = (math.ceil(side / stride) if self.conv_patches else side // stride for side in self.image_size)
        return rows, cols

    def local(self, stage: int) -> bool:
        """Whether a stage has windows."""
        return any(letter in LOCAL for letter in self.blocks[stage])

    def deformable(self, stage: int) -> DeformableShape:
        """The numbers of a stage's deformable attention."""
        rows, cols = (side // (PATCH << stage) for side in self.bias_size or self.image_size)
        return DeformableShape(
            dim=self.dims[stage],
            heads=self.heads[stage],
            resolution=self.resolution(stage),
            groups=self.groups[stage],
            stride=self.strides[stage],
            kernel=self.offset_kernels[stage],
            factor=self.offset_factors[stage],
            table=(rows, cols) if self.biased[stage] and not self.still[stage] else None,
            plus_plus=self.plus_plus,
            still=self.still[stage],
        )

    def at(self, image_size: tuple[int, int]) -> "DatConfig":
        """Make this configuration for another input size, with as many windows a side as before.

        Source: configs/dat_base_384.yaml of both generations: DAT's window 7 at 224 becomes 12, and its position biases
        are resized; DAT++'s are looked up at any size and stay as they are.

        Raises:
            ShapeError: a stage's map does not fit its attention.
        """
        scale = {new / old for new, old in zip(image_size, self.image_size, strict=True)}
        ratio = scale.pop() if len(scale) == 1 else 1.0
        windows = tuple(
            max(1, round(window * ratio)) if self.local(stage) else window for stage, window in enumerate(self.windows)
        )
        made_for = (self.bias_size or self.image_size) if self.plus_plus else None
        bias_size = None if made_for == image_size else made_for
        config = replace(self, image_size=image_size, windows=windows, bias_size=bias_size)
        config.refuse_misfits()
        return config

    def refuse_misfits(self) -> None:
        """Refuse what upstream fails on.

        Raises:
            ShapeError: a stage's map does not fit its attention, or a letter has no attention here.
        """
        for stage, letters in enumerate(self.blocks):
            if unknown := set(letters) - set(LETTERS):
                raise ShapeError(f"blocks of {', '.join(sorted(unknown))}, where L, S, N and D are modelled")
            if self.local(stage):
                refuse_remainder(self.resolution(stage), self.windows[stage])
            if "D" in letters:
                self.deformable(stage).refuse_misfits()
