"""MViTv2 T, S, B, L: pooling attention, whose queries four stages shrink and whose keys stay few.

A stage starts where the queries are pooled: there the map halves and the heads double. The width doubles there too, in
the attention; in L it does one block before, in the MLP. Logits are given, and upstream in eval mode gives their
softmax. H is published, but its configuration is not in upstream's repository.
Source: facebookresearch/mvit dfbdfdf, mvit/models/mvit_model.py and configs/.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from . import config_tree, mvitv2_tree
from .data import DataConfig
from .data_tree import data_from_tree
from .family import Family, Published, ShapeError, State, classes, classifier
from .layers import Mlp
from .pooling_attention import EPS, PoolingAttention, PoolingShape, pooled

PATCH = 4
POOLED = 2  # stride of the queries where a stage starts


@dataclass(frozen=True)
class MvitV2Config:
    """The numbers of one MViTv2.

    Attributes:
        embed_dim: width of the first blocks.
        depth: number of blocks.
        heads: of the first blocks.
        stage_starts: the blocks (0-based) that pool their queries and double the heads.
        kv_stride: stride of keys and values in the first block; a stage's start halves it, down to 1.
        widens_in_attention: whether the width doubles in the attention of a stage's start (upstream
            `DIM_MUL_IN_ATT`), or in the MLP of the block before.
        mlp_ratio: hidden width of the MLPs over that of the attention.
        residual_pooling: whether pooled queries are added to the attention's output.
        image_size: rows and columns of the input.
    """

    embed_dim: int
    depth: int
    heads: int
    stage_starts: tuple[int, ...]
    kv_stride: int = 4
    widens_in_attention: bool = True
    mlp_ratio: float = 4.0
    residual_pooling: bool = True
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last block of each stage."""
        return (*(start - 1 for start in self.stage_starts), self.depth - 1)

    def at(self, image_size: tuple[int, int]) -> "MvitV2Config":
        """Make this configuration for another input size, whose tables `adapt` makes.

        Raises:
            ShapeError: upstream's tables of that size would not hold every distance.
        """
        config = replace(self, image_size=image_size)
        for block in blocks(config):
            block.attention.refuse_missing_distances()
        return config


@dataclass(frozen=True)
class BlockShape:
    """The numbers of one block.

    Attributes:
        dim: channels that come in.
        outputs: channels that go out.
        attention: the numbers of its attention.
    """

    dim: int
    outputs: int
    attention: PoolingShape


def blocks(config: MvitV2Config) -> Iterator[BlockShape]:
    """Work out every block, the first first.

    The map rounds up wherever it halves. Upstream's tables are made of sides that round down.
    """
    dim, heads, kv_stride = config.embed_dim, config.heads, config.kv_stride
    resolution = pooled(config.image_size, PATCH)
    counted = (config.image_size[0] // PATCH, config.image_size[1] // PATCH)  # as the tables count them
    for block in range(config.depth):
        starts = block in config.stage_starts
        q_stride = POOLED if starts else 1
        if starts:
            heads, kv_stride = 2 * heads, max(kv_stride // POOLED, 1)
        widens = starts if config.widens_in_attention else block + 1 in config.stage_starts
        outputs = 2 * dim if widens else dim
        smaller = min(q_stride, kv_stride)
        attention = PoolingShape(
            dim=dim,
            width=outputs if config.widens_in_attention else dim,
            heads=heads,
            resolution=resolution,
            q_stride=q_stride,
            kv_stride=kv_stride,
            table_sides=(counted[0] // smaller, counted[1] // smaller),
        )
        yield BlockShape(dim, outputs, attention)
        dim, resolution = outputs, pooled(resolution, q_stride)
        counted = (counted[0] // q_stride, counted[1] // q_stride)


class MvitV2(nn.Module):
    """Overlapping patches, blocks, LayerNorm, mean, linear head."""

    def __init__(self, config: MvitV2Config) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.embed_dim)
        shapes = tuple(blocks(config))
        self.blocks = nn.ModuleList(Block(shape, config) for shape in shapes)
        self.norm = nn.LayerNorm(shapes[-1].outputs, eps=EPS)
        self.head = Head(shapes[-1].outputs, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [B, classes] of normalised images [B, 3, H, W]."""
        return self.head(self.norm(self.maps(images)[-1]).mean(dim=(1, 2)))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the map of each stage, [B, C, H, W] at strides 4, 8, 16, 32, for a detector's or segmenter's neck."""
        return tuple(x.permute(0, 3, 1, 2) for x in self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the map of each stage's last block, [B, H, W, C]."""
        x, maps = self.patch_embed(images), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.config.stage_ends:
                maps.append(x)
        return maps


class PatchEmbed(nn.Module):
    """Overlapping patches through one strided convolution."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 7, stride=PATCH, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """Make the map [B, ceil(H/4), ceil(W/4), C] of images [B, 3, H, W]."""
        return self.proj(images).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Pre-norm block: pooling attention, then an MLP; where the width doubles, so does that of the way around it."""

    def __init__(self, shape: BlockShape, config: MvitV2Config) -> None:
        super().__init__()
        width, self.shape = shape.attention.width, shape
        self.norm1 = nn.LayerNorm(shape.dim, eps=EPS)
        self.attn = PoolingAttention(shape.attention, residual=config.residual_pooling)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * config.mlp_ratio), shape.outputs)
        if shape.dim != shape.outputs:
            self.proj = nn.Linear(shape.dim, shape.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, qh, qw, outputs] for x [B, H, W, dim]."""
        in_attention = self.shape.attention.width != self.shape.dim
        in_mlp = self.shape.attention.width != self.shape.outputs
        normed = self.norm1(x)
        around = self.proj(normed) if in_attention else x  # of the normed map, in the attention and in the MLP
        x = self._pooled(around) + self.attn(normed)
        normed = self.norm2(x)
        return (self.proj(normed) if in_mlp else x) + self.mlp(normed)

    def _pooled(self, x: Tensor) -> Tensor:
        """Pool x [B, H, W, C] to the queries' map."""
        stride = self.shape.attention.q_stride
        if stride == 1:
            return x
        x = functional.max_pool2d(x.permute(0, 3, 1, 2), stride + 1, stride, (stride + 1) // 2)
        return x.permute(0, 2, 3, 1)


class Head(nn.Module):
    """The linear layer that gives logits; upstream puts a softmax behind it in eval mode."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.projection = classifier(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [B, classes] of x [B, C]."""
        return self.projection(x)


def matches(state: State) -> bool:
    """Whether the keys are those of an MViTv2."""
    return "blocks.0.attn.rel_pos_h" in state and "patch_embed.proj.weight" in state


def infer(state: State) -> MvitV2Config:
    """Read the configuration that the shapes of an MViTv2 state dict tell; they tell the input too.

    Raises:
        ShapeError: the shapes fit no such model.
    """
    if "cls_token" in state:
        raise ShapeError("a class token (cls_token), which no MViTv2 here has")
    state = canonical(state)
    depth = 1 + max(int(m[1]) for key in state if (m := re.match(r"blocks\.(\d+)\.", key)))
    widths = [state[f"blocks.{n}.attn.proj.weight"].shape[0] for n in range(depth)]
    heads = [width // state[f"blocks.{n}.attn.pool_q.weight"].shape[0] for n, width in enumerate(widths)]
    starts = tuple(n for n in range(1, depth) if heads[n] != heads[n - 1])
    if any(heads[n] != 2 * heads[n - 1] for n in starts):
        raise ShapeError(f"blocks of {', '.join(map(str, heads))} heads, where they double from stage to stage")
    projections = [(n, state[f"blocks.{n}.proj.weight"]) for n in range(depth) if f"blocks.{n}.proj.weight" in state]
    config = MvitV2Config(
        embed_dim=state["patch_embed.proj.weight"].shape[0],
        depth=depth,
        heads=heads[0],
        stage_starts=starts,
        widens_in_attention=all(proj.shape[0] == widths[n] for n, proj in projections),
        mlp_ratio=state["blocks.0.mlp.fc1.bias"].shape[0] / widths[0],
        image_size=(_side(state, 0, "h") * PATCH, _side(state, 0, "w") * PATCH),
        num_classes=classes(state, "head.projection"),
    )
    return _with_kv_stride(config, state)


def _side(state: State, block: int, axis: str) -> int:
    """Read the side that a block's table was made for: of 2n - 1 rows, n."""
    return (state[f"blocks.{block}.attn.rel_pos_{axis}"].shape[0] + 1) // 2


def _with_kv_stride(config: MvitV2Config, state: State) -> MvitV2Config:
    """Work out the stride of the first keys from the tables.

    Queries and keys share a table, made for the larger map. Where a stage starts, the queries' map is half of what
    comes in, so only there the table tells whether the keys' is: it is whole from the start on where their stride is 1.

    Raises:
        ShapeError: it is 1 at every start, or at none, or the tables fit no stride.
    """
    sides = [(_side(state, n, "h"), _side(state, n, "w")) for n in range(config.depth)]
    for halvings in range(2, len(config.stage_starts) + 1):
        candidate = replace(config, kv_stride=POOLED**halvings)
        if [block.attention.table_sides for block in blocks(candidate)] == sides:
            return candidate
    raise ShapeError("tables of relative positions that leave the stride of the keys open, or fit none")


def canonical(state: State) -> State:
    """Make the state dict of images: released files have convolutions of one frame, [out, in, 1, rows, cols].

    Source: mvit/utils/checkpoint.py, load_checkpoint, `squeeze_temporal`.
    """
    return {key: value.squeeze(2) if value.ndim == 5 and value.shape[2] == 1 else value for key, value in state.items()}


def read_config(tree: Mapping[str, Any]) -> MvitV2Config | None:
    """Read the configuration in upstream's config tree, or in this project's; None where it is another family's.

    Raises:
        IncompleteError: it does not tell the whole model.
        ShapeError: upstream's tree asks for something that is not modelled.
    """
    if "MVIT" not in tree:
        return config_tree.read_config(tree, "mvitv2", MvitV2Config)
    return MvitV2Config(**mvitv2_tree.read_fields(tree))


def read_data(tree: Mapping[str, Any] | None, _config: MvitV2Config) -> DataConfig:
    """Read the preprocessing: short side to 1/0.875 of the input, bicubic, centre crop.

    Source: mvit/datasets/imagenet.py, _prepare_im; `DATA.VAL_CROP_RATIO` 0 resizes both sides and crops nothing.
    """
    ratio = float(config_tree.branch(tree, "DATA").get("VAL_CROP_RATIO", 0.875))
    return data_from_tree(tree, DataConfig(scale=1 / ratio) if ratio else DataConfig(keep_aspect=False, scale=1.0))


def resize(config: MvitV2Config, size: MvitV2Config) -> MvitV2Config:
    """Make `config` with the widths, depth, heads and stages of `size`."""
    return replace(
        config,
        embed_dim=size.embed_dim,
        depth=size.depth,
        heads=size.heads,
        stage_starts=size.stage_starts,
        kv_stride=size.kv_stride,
        widens_in_attention=size.widens_in_attention,
        mlp_ratio=size.mlp_ratio,
    )


def adapt(state: State, _trained: MvitV2Config, wanted: MvitV2Config) -> State:
    """Make the state dict whose tables of relative positions have the sizes of `wanted`.

    Source: facebookresearch/detectron2, modeling/backbone/utils.py, get_rel_pos: linear, ends not aligned; the
    classification code runs at the trained size only.
    """
    adapted = dict(state)
    for index, block in enumerate(blocks(wanted)):
        for side, axis in zip(block.attention.table_sides, "hw", strict=True):
            key = f"blocks.{index}.attn.rel_pos_{axis}"
            if adapted[key].shape[0] != 2 * side - 1:
                table = adapted[key].T[None]  # [1, d, rows]
                adapted[key] = functional.interpolate(table, size=2 * side - 1, mode="linear")[0].T
    return adapted


VARIANTS: Mapping[str, MvitV2Config] = {
    "mvitv2_tiny": MvitV2Config(96, 10, 1, (1, 3, 8)),
    "mvitv2_small": MvitV2Config(96, 16, 1, (1, 3, 14)),
    "mvitv2_base": MvitV2Config(96, 24, 1, (2, 5, 21)),
    "mvitv2_large": MvitV2Config(144, 48, 2, (2, 8, 44), widens_in_attention=False),
}

README = "facebookresearch/mvit dfbdfdf, README.md"
PUBLISHED = {
    "mvitv2_tiny": Published(24, 4.7, 82.3, README),
    "mvitv2_small": Published(35, 7.0, 83.6, README),
    "mvitv2_base": Published(52, 10.2, 84.4, README),
    "mvitv2_large": Published(218, 42.1, 85.3, README),
}

FAMILY = Family(
    name="mvitv2",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=MvitV2,
    adapt=adapt,
    canonical=canonical,
    assumed="no shape tells whether pooled queries are added to the attention's output: they are, as in every "
    "published model",
    published=PUBLISHED,
)
