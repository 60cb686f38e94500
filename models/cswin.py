"""CSwin Transformer T, S, B, L: four stages of attention in cross-shaped windows, convolutions between them.

Source: microsoft/CSWin-Transformer f111ae2, models/cswin.py. Keys and shapes of the 224 and 384 models are the same,
and no shape tells the heads: widths 64, 96 and 144 have the published ones, others must be said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from . import config_tree
from .data import DataConfig
from .data_tree import WHOLE_IMAGE, data_from_tree
from .family import Family, Published, ShapeError, State, classes, classifier, clusters, depths, slides
from .feature_norms import FeatureNorms
from .layers import NORM_EPS, ChannelsLast
from .model_value import ModelValue, ValueKind, numbers, trained_size
from .slide_attention import SlideBlock
from .stripe_attention import StripeBlock, stripes

BLOCK = r"stage(\d+)\.(\d+)\."
NARROW = 2  # stripes up to this width stay when the input grows


@dataclass(frozen=True)
class CSwinConfig:
    """The numbers of one CSwin or Slide-CSwin.

    Attributes:
        stripes: width of a stripe in each stage, or of a horizontal and of a vertical one; 0 where the map is one
            window.
        image_size: rows and columns of the input.
        slide_stages: the stages (0-based) with slide attention in the place of stripes.
        kernel_size: side k of the slide neighbourhood.
        lepe: whether slide attention keeps CSwin's LePE, a depthwise convolution of the values.
        feature_norms: the stages (0-based) whose maps `features` norms; the last stage's norm is the classifier's.
        padded_stripes: whether stripes stay as wide at every input and zeros complete the map, as in CSwin's segmenter.
    """

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    stripes: tuple[int | tuple[int, int], ...] = (1, 2, 7, 0)
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    mlp_ratio: float = 4.0
    slide_stages: tuple[int, ...] = ()
    kernel_size: int = 3
    lepe: bool = False
    feature_norms: tuple[int, ...] = ()
    padded_stripes: bool = False

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map (0-based stage): kernel 7, stride 4, padding 2, then halves."""
        rows, cols = ((side + 1) // 4 for side in self.image_size)
        return -(-rows // 2**stage), -(-cols // 2**stage)

    def stripe(self, stage: int) -> tuple[int, int]:
        """Rows of a horizontal and columns of a vertical stripe of a stage (0-based)."""
        width = self.stripes[stage]
        return width if isinstance(width, tuple) else (width, width)

    def at(self, image_size: tuple[int, int]) -> "CSwinConfig":
        """Same model at another input size, with its stripes scaled to the map.

        Source: CSwin's own 384 models: stripes of 7 become 12, those of 1 and 2 stay.

        Raises:
            ShapeError: stripes would not divide a map.
        """
        if self.padded_stripes:
            return replace(self, image_size=image_size)
        grown = (self._grown(stage, image_size) for stage in range(len(self.stripes)))
        widths = tuple(rows if rows == cols else (rows, cols) for rows, cols in grown)
        return divided(replace(self, image_size=image_size, stripes=widths))

    def _grown(self, stage: int, image_size: tuple[int, int]) -> tuple[int, int]:
        sides = zip(self.stripe(stage), image_size, self.image_size, strict=True)
        rows, cols = (width if width <= NARROW else round(width * new / old) for width, new, old in sides)
        return rows, cols


def divided(config: CSwinConfig) -> CSwinConfig:
    """Give a configuration back whose stripes divide its maps.

    Raises:
        ShapeError: they do not.
    """
    for stage in range(len(config.stripes)):
        if stage not in config.slide_stages and not config.padded_stripes:
            stripes(config.resolution(stage), config.stripe(stage))
    return config


class CSwinTransformer(FeatureNorms):
    """Convolution, stages of blocks with strided convolutions between them, LayerNorm, mean, linear head."""

    def __init__(self, config: CSwinConfig) -> None:
        super().__init__()
        dims = [config.embed_dim * 2**stage for stage in range(len(config.depths))]
        self.stage1_conv_embed = nn.Sequential(
            nn.Conv2d(3, dims[0], kernel_size=7, stride=4, padding=2), ChannelsLast(), nn.LayerNorm(dims[0])
        )
        for stage, dim in enumerate(dims):
            blocks = (_block(config, stage, dim) for _ in range(config.depths[stage]))
            self.add_module(f"stage{stage + 1}", nn.Sequential(*blocks))
        for stage, dim in enumerate(dims[:-1]):
            self.add_module(f"merge{stage + 1}", Merging(dim))
        self.norm = nn.LayerNorm(dims[-1])
        self.head = classifier(dims[-1], config.num_classes)
        self.stages = len(dims)
        self.add_feature_norms(config.feature_norms, tuple(dims), NORM_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images: [B, 3, H, W] -> logits [B, classes]."""
        return self.head(self.norm(self.maps(images)[-1]).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map of each stage, [B, C, H, W] at strides 4, 8, 16, 32, for the neck of a detector or segmenter."""
        return tuple(self.normed(x, stage).permute(0, 3, 1, 2) for stage, x in enumerate(self.maps(images)))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map of each stage, [B, H, W, C]."""
        x, maps = self.stage1_conv_embed(images), []
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"stage{stage}")(x)
            maps.append(x)
            if stage < self.stages:
                x = self.get_submodule(f"merge{stage}")(x)
        return maps


class Merging(nn.Module):
    """Halve the resolution and double the width: a strided 3x3 convolution, then LayerNorm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 2 * dim, kernel_size=3, stride=2, padding=1)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the map by a strided convolution: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), 2C]."""
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def _block(config: CSwinConfig, stage: int, dim: int) -> nn.Module:
    if stage in config.slide_stages:
        return SlideBlock(dim, config.heads[stage], config.kernel_size, config.mlp_ratio, lepe=config.lepe)
    return StripeBlock(
        dim,
        config.heads[stage],
        config.resolution(stage),
        config.stripe(stage),
        config.mlp_ratio,
        padded=config.padded_stripes,
    )


def is_cswin(state: State) -> bool:
    """Whether the keys are those of a CSwin with any attention."""
    return "stage1_conv_embed.0.weight" in state


def infer(state: State, *, heads: tuple[int, ...] | None = None) -> CSwinConfig:
    """The configuration that the shapes of a CSwin or Slide-CSwin state dict tell, for input 224.

    Raises:
        ShapeError: the shapes fit no such model, or leave its heads open.
    """
    embed_dim = state["stage1_conv_embed.0.weight"].shape[0]
    stages = depths(state, BLOCK)
    if heads is None:
        heads = next((size.heads for size in VARIANTS.values() if size.embed_dim == embed_dim), None)
    if heads is None or len(heads) != len(stages):
        raise ShapeError(f"a CSwin of width {embed_dim} and {len(stages)} stages, whose heads no shape tells")
    check_heads(state, heads)
    tables = {n: state.get(f"stage{n + 1}.0.attn.relative_position_bias_table") for n in range(len(stages))}
    slide = {stage: table for stage, table in tables.items() if table is not None}
    cut = cut_stages(state)
    return CSwinConfig(
        embed_dim=embed_dim,
        depths=stages,
        heads=heads,
        stripes=tuple(width if cut[n] else 0 for n, width in enumerate(CSwinConfig.stripes)),
        num_classes=classes(state),
        mlp_ratio=state["stage1.0.mlp.fc1.bias"].shape[0] / embed_dim,
        slide_stages=tuple(slide),
        kernel_size=next((round(table.shape[3] ** 0.5) for table in slide.values()), 3),
        lepe=any(".attn.get_v." in key for key in state),
    )


def cut_stages(state: State) -> tuple[bool, ...]:
    """Of each stage, whether its map is cut into stripes, as far as shapes tell; a stage that slides counts as cut."""
    slid = ("attn.relative_position_bias_table", "attns.1.get_v.weight")
    stages = len(depths(state, BLOCK))
    return tuple(any(f"stage{n + 1}.0.{key}" in state for key in slid) for n in range(stages))


def check_heads(state: State, heads: tuple[int, ...]) -> None:
    """Refuse heads that do not fit the widths, or are not those of a slide stage's table.

    Raises:
        ShapeError: a stage has others.
    """
    embed_dim, cut = state["stage1_conv_embed.0.weight"].shape[0], cut_stages(state)
    if len(heads) != len(cut):
        raise ShapeError(f"{len(heads)} numbers of heads for {len(cut)} stages")
    for n, count in enumerate(heads):
        table = state.get(f"stage{n + 1}.0.attn.relative_position_bias_table")
        if table is not None and table.shape[1] != count:
            raise ShapeError(f"other heads than {heads}, which a CSwin of width {embed_dim} has")
        halved = cut[n] and table is None  # half of the heads look along rows, half along columns
        width = embed_dim << n
        if count < 1 or width % count or (halved and count % 2):
            raise ShapeError(f"{count} heads in stage {n + 1}, which do not divide its width {width}, or its halves")


def check_stripes(state: State, widths: tuple[int | tuple[int, int], ...]) -> None:
    """Refuse stripes where a map is one window, and one window where a map is cut.

    Raises:
        ShapeError: a stage is the other way.
    """
    cut = cut_stages(state)
    if len(widths) != len(cut):
        raise ShapeError(f"{len(widths)} widths of stripes for {len(cut)} stages")
    for n, width in enumerate(widths):
        if bool(width) != cut[n]:
            raise ShapeError(f"stage {n + 1} {'cut into stripes' if cut[n] else 'one window'}, where {width} is said")


def with_stripes(config: CSwinConfig, widths: tuple[int | tuple[int, int], ...]) -> CSwinConfig:
    """Copy the configuration with other stripes.

    Raises:
        ShapeError: stripes do not divide a map.
    """
    return divided(replace(config, stripes=widths))


def read_data(tree: Mapping[str, Any] | None, config: CSwinConfig) -> DataConfig:
    """CSwin's preprocessing: short side to 1/0.9 of the input, bicubic, centre crop; from 384 on no crop.

    Source: CSwin models/cswin.py, default_cfgs: crop_pct 0.9 and 1.0, timm's evaluation pipeline.
    """
    return data_from_tree(tree, DataConfig(scale=1.0 if min(config.image_size) >= WHOLE_IMAGE else 1 / 0.9))


def resize(config: CSwinConfig, size: CSwinConfig) -> CSwinConfig:
    """Copy `config` with the widths, depths and heads of `size`, and its input where that is not the usual 224."""
    config = replace(config, embed_dim=size.embed_dim, depths=size.depths, heads=size.heads)
    usual = size.image_size == CSwinConfig.image_size
    return config if usual or config.image_size == size.image_size else config.at(size.image_size)


_TINY = CSwinConfig(64, (1, 2, 21, 1), (2, 4, 8, 16))
_SMALL = CSwinConfig(64, (2, 4, 32, 2), (2, 4, 8, 16))
_BASE = CSwinConfig(96, (2, 4, 32, 2), (4, 8, 16, 32))
_LARGE = CSwinConfig(144, (2, 4, 32, 2), (6, 12, 24, 24))

VARIANTS = {
    "cswin_tiny": _TINY,
    "cswin_small": _SMALL,
    "cswin_base": _BASE,
    "cswin_large": _LARGE,
    "cswin_base_384": _BASE.at((384, 384)),
    "cswin_large_384": _LARGE.at((384, 384)),
}


def read_stripes(text: str) -> tuple[int | tuple[int, int], ...]:
    """Read widths of stripes, 1,2,7,0, or rows and columns of one, 1,2,7x12,0."""

    def width(part: str) -> int | tuple[int, int]:
        """Read one stage's: `2`, or `7x12`."""
        rows, cross, cols = part.partition("x")
        found = int(rows), int(cols if cross else rows)
        if min(found) < 0:
            raise ValueError(part)
        return found if found[0] != found[1] else found[0]

    return tuple(map(width, text.split(",")))


def show_stripes(widths: tuple[int | tuple[int, int], ...]) -> str:
    """Write widths as `read_stripes` reads them."""
    return ",".join("x".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in widths)


STRIPES = ValueKind("widths with commas, 1,2,7,0 or 1,2,7x12,0", read_stripes, show_stripes)

README = "microsoft/CSWin-Transformer f111ae2, README.md"
PUBLISHED = {
    "cswin_tiny": Published(23, 4.3, 82.8, README),
    "cswin_small": Published(35, 6.9, 83.6, README),
    "cswin_base": Published(78, 15.0, 84.2, README),
    "cswin_large": Published(173, 31.5, 86.5, f"{README}, pretrained on ImageNet-22K"),
    "cswin_base_384": Published(78, 47.0, 85.5, README),
    "cswin_large_384": Published(173, 96.8, 87.5, f"{README}, pretrained on ImageNet-22K"),
}

HEADS = ModelValue(
    "heads",
    numbers("2,4,8,16"),
    "heads of each stage's attention",
    "those of the published width",
    needed=True,
    check=check_heads,
)
STRIPES_VALUE = ModelValue(
    "stripes",
    STRIPES,
    "width of each stage's stripes at image_size, 0 where its map is one window",
    "those of every published model, 1,2,7,0 at 224",
    check=check_stripes,
    apply=with_stripes,
)

FAMILY = Family(
    name="cswin",
    variants=VARIANTS,
    matches=lambda state: is_cswin(state) and not slides(state) and not clusters(state),
    infer=infer,
    resize=resize,
    read_config=lambda tree: config_tree.read_config(tree, "cswin", CSwinConfig),
    read_data=read_data,
    build=CSwinTransformer,
    values=(
        HEADS,
        trained_size("224x224, while others have the same keys and shapes (name a 384 model)"),
        STRIPES_VALUE,
    ),
    published=PUBLISHED,
)
