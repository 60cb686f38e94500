"""BOAT on Swin T, S, B: a shifted window is followed by attention among similar tokens, anywhere in the map.

Source: mahaoyuHKU/pytorch-boat b94a66c, BOAT-Swin/models/boat_swin_transformer.py, an unofficial implementation whose
weights are the ones in circulation; arXiv 2201.13027. Its README states no accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from . import config_tree, swin
from .content_attention import ContentAttention
from .family import Family, ShapeError, State, clusters
from .model_value import ACTIVATION
from .swin import PATCH, Stage, SwinConfig, SwinTransformer
from .window_attention import FusedWindowBlock, WindowBlock, Windows

WINDOW = 7  # whose 49 tokens a cluster has, too


@dataclass(frozen=True)
class BoatSwinConfig(SwinConfig):
    """The numbers of one BOAT on Swin; `SwinConfig` has them all."""

    def at(self, image_size: tuple[int, int]) -> "BoatSwinConfig":
        """This configuration, for the only input size that it has.

        The last map is one window of 7x7, without shift and thus without content attention: at twice the size it would
        be shifted and need weights that no file has, and in between tokens do not halve into clusters of 49.

        Raises:
            ShapeError: for any other size.
        """
        side = WINDOW * PATCH << (len(self.depths) - 1)
        if image_size != (side, side):
            raise ShapeError(f"clusters of 49 tokens in {len(self.depths)} stages only at {side}x{side}")
        return self


class BoatSwinTransformer(SwinTransformer):
    """Swin with content attention in every block whose window is shifted.

    Raises:
        ShapeError: the input or the window is none that BOAT has.
    """

    def __init__(self, config: BoatSwinConfig) -> None:
        if config.window != (WINDOW, WINDOW):
            raise ShapeError(f"a window of {config.window[0]}x{config.window[1]}, where BOAT has 7x7")
        super().__init__(config.at(config.image_size))
        for number, stage in enumerate(self.layers):
            if isinstance(stage, Stage) and min(config.resolution(number)) > WINDOW:
                for index in range(1, len(stage.blocks), 2):
                    stage.blocks[index] = BoatBlock(config, number)


class BoatBlock(WindowBlock):
    """Shifted window attention, content attention, MLP, each behind a LayerNorm and with a residual."""

    def __init__(self, config: BoatSwinConfig, stage: int) -> None:
        dim, heads, resolution = config.embed_dim << stage, config.heads[stage], config.resolution(stage)
        super().__init__(
            dim,
            heads,
            Windows(resolution, config.window, shifted=True, rule=config.rule),
            mlp_ratio=config.mlp_ratio,
            activation=config.activation,
            eps=config.norm_eps,
        )
        self.attnC = ContentAttention(dim, heads, resolution)
        self.norm4 = nn.LayerNorm(dim, eps=config.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """The block's map, [B, H, W, C] for x [B, H, W, C]."""
        x = x + self.windows.join(self.attn(self.windows.cut(self.norm1(x)), self.attn_mask))
        x = x + self.attnC(self.norm4(x))
        return x + self.mlp(self.norm2(x))

    def fuse(self) -> "FusedBoatBlock":
        """This block's inference form, sharing its weights."""
        return FusedBoatBlock(self)

    reparameterize = fuse


class FusedBoatBlock(FusedWindowBlock):
    """The inference form of `BoatBlock`."""

    def __init__(self, trained: BoatBlock) -> None:
        super().__init__(trained)
        self.norm4, self.attnC = trained.norm4, trained.attnC.fuse()

    def forward(self, x: Tensor) -> Tensor:
        """The block's map, [B, H, W, C] for x [B, H, W, C]."""
        x = x + self.windows.join(self.attn(self.windows.cut(self.norm1(x))))
        x = x + self.attnC(self.norm4(x))
        return x + self.mlp(self.norm2(x))


def matches(state: State) -> bool:
    """Whether the keys are those of a Swin with content attention."""
    return swin.is_swin(state) and clusters(state)


def infer(state: State) -> BoatSwinConfig:
    """The configuration that the shapes of a state dict tell.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    return boat(swin.infer(state))


def read_config(tree: Mapping[str, Any]) -> BoatSwinConfig:
    """The configuration in this project's own config tree, or in upstream's, which is Swin's.

    Raises:
        IncompleteError: it does not tell the whole model.
    """
    own = config_tree.read_config(tree, "boat_swin", BoatSwinConfig)
    return boat(swin.read_config(tree)) if own is None else own


def boat(config: SwinConfig) -> BoatSwinConfig:
    """The same numbers as a BOAT's."""
    return BoatSwinConfig(**{field.name: getattr(config, field.name) for field in fields(config)})


def resize(config: BoatSwinConfig, size: BoatSwinConfig) -> BoatSwinConfig:
    """Copy `config` with the widths, depths and heads of `size`."""
    return boat(swin.resize(config, size))


VARIANTS = {
    "boat_swin_tiny": BoatSwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "boat_swin_small": BoatSwinConfig(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "boat_swin_base": BoatSwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32)),
}

FAMILY = Family(
    name="boat_swin",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=swin.read_data,
    build=BoatSwinTransformer,
    adapt=swin.adapt,
    values=(ACTIVATION,),
    optional=swin.REBUILT,
)
