"""BOAT on CSwin T, S, B: in every other block, attention among similar tokens follows that in stripes.

The last map has 49 tokens, one cluster, and upstream pairs it with that of the next image of the batch: images 2m and
2m+1 change each other's logits, an odd batch has no meaning, and only a fixed even batch can be exported.

Source: mahaoyuHKU/pytorch-boat b94a66c, BOAT-CSWin/models/cswin_boat.py, an unofficial implementation whose weights are
the ones in circulation; arXiv 2201.13027. Its README states no accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from . import config_tree, cswin
from .content_attention import ContentAttention
from .cswin import CSwinConfig, CSwinTransformer
from .family import Family, ShapeError, State, clusters
from .stripe_attention import FusedStripeBlock, StripeBlock

SCALE = 1.0
"""Upstream passes `qk_scale=qkv_bias`, and `True or d ** -0.5` is True: logits are multiplied by 1."""


@dataclass(frozen=True)
class BoatCSwinConfig(CSwinConfig):
    """The numbers of one BOAT on CSwin; `CSwinConfig` has them all."""

    def at(self, image_size: tuple[int, int]) -> "BoatCSwinConfig":
        """This configuration, for the only input size that it has: tokens halve into clusters of 49 at no other.

        Raises:
            ShapeError: for any other size.
        """
        side = 28 << (len(self.depths) - 1)
        if image_size != (side, side):
            raise ShapeError(f"clusters of 49 tokens in {len(self.depths)} stages only at {side}x{side}")
        return self


class BoatCSwinTransformer(CSwinTransformer):
    """CSwin with content attention in blocks 0, 2, 4, ... of each stage; takes an even batch.

    Raises:
        ShapeError: the input is none that BOAT has.
    """

    coupled = 2  # images 2m and 2m+1 of a batch change each other's logits

    def __init__(self, config: BoatCSwinConfig) -> None:
        super().__init__(config.at(config.image_size))
        for number in range(self.stages):
            blocks = self.get_submodule(f"stage{number + 1}")
            if isinstance(blocks, nn.Sequential):
                for index in range(0, len(blocks), 2):
                    blocks[index] = BoatBlock(config, number)


class BoatBlock(StripeBlock):
    """Attention in stripes, content attention, MLP, each behind a LayerNorm and with a residual."""

    def __init__(self, config: BoatCSwinConfig, stage: int) -> None:
        dim, heads, resolution = config.embed_dim << stage, config.heads[stage], config.resolution(stage)
        super().__init__(dim, heads, resolution, config.stripe(stage), config.mlp_ratio)
        self.content_attn = ContentAttention(dim, heads, resolution, SCALE)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """The block's map, [B, H, W, C] for x [B, H, W, C]."""
        x = self.attend(x)
        x = x + self.content_attn(self.norm3(x))
        return x + self.mlp(self.norm2(x))

    def fuse(self) -> "FusedBoatBlock":
        """This block's inference form, sharing the weights that stay as they are."""
        return FusedBoatBlock(self)

    reparameterize = fuse


class FusedBoatBlock(FusedStripeBlock):
    """The inference form of `BoatBlock`."""

    def __init__(self, trained: BoatBlock) -> None:
        super().__init__(trained)
        self.norm3, self.content_attn = trained.norm3, trained.content_attn.fuse()

    def forward(self, x: Tensor) -> Tensor:
        """The block's map, [B, H, W, C] for x [B, H, W, C]."""
        x = self.attend(x)
        x = x + self.content_attn(self.norm3(x))
        return x + self.mlp(self.norm2(x))


def matches(state: State) -> bool:
    """Whether the keys are those of a CSwin with content attention."""
    return cswin.is_cswin(state) and clusters(state)


def infer(state: State, *, heads: tuple[int, ...] | None = None) -> BoatCSwinConfig:
    """The configuration that the shapes of a state dict tell, for input 224.

    Raises:
        ShapeError: the shapes fit no such model, or leave its heads open.
    """
    return boat(cswin.infer(state, heads=heads))


def boat(config: CSwinConfig) -> BoatCSwinConfig:
    """The same numbers as a BOAT's."""
    return BoatCSwinConfig(**{field.name: getattr(config, field.name) for field in fields(config)})


def resize(config: BoatCSwinConfig, size: BoatCSwinConfig) -> BoatCSwinConfig:
    """Copy `config` with the widths, depths and heads of `size`."""
    return boat(cswin.resize(config, size))


def read_config(tree: Mapping[str, Any]) -> BoatCSwinConfig | None:
    """The configuration in a tree of this project's form; upstream saves none."""
    return config_tree.read_config(tree, "boat_cswin", BoatCSwinConfig)


VARIANTS = {
    "boat_cswin_tiny": BoatCSwinConfig(64, (1, 2, 21, 1), (2, 4, 8, 16)),
    "boat_cswin_small": BoatCSwinConfig(64, (2, 4, 32, 2), (2, 4, 8, 16)),
    "boat_cswin_base": BoatCSwinConfig(96, (2, 4, 32, 2), (4, 8, 16, 32)),
}

FAMILY = Family(
    name="boat_cswin",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=cswin.read_data,
    build=BoatCSwinTransformer,
    values=(cswin.HEADS, cswin.STRIPES_VALUE),
)
