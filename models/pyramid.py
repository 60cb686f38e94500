"""What the shapes of a PVT, a PVTv2 or a slide form of them tell: keys `patch_embed{n}` and `block{n}.{j}`, n from 1.

Source: whai362/PVT 57e2dfa, classification/pvt.py and pvt_v2.py.
"""

import math
import re
from typing import Protocol

from . import family
from .family import ShapeError, State
from .model_value import ModelValue, numbers

HEADS: dict[tuple[int, ...], tuple[int, ...]] = {(64, 128, 320, 512): (1, 2, 5, 8), (32, 64, 160, 256): (1, 2, 5, 8)}
"""The heads of the published widths: no shape of attention to a reduced map tells them."""


def dims(state: State) -> tuple[int, ...]:
    """Width C of each stage."""
    stages = sum(bool(re.fullmatch(r"patch_embed\d+\.proj\.weight", key)) for key in state)
    return tuple(state[f"patch_embed{n}.proj.weight"].shape[0] for n in range(1, stages + 1))


def depths(state: State) -> tuple[int, ...]:
    """Number of blocks of each stage."""
    return family.depths(state, r"block(\d+)\.(\d+)\.")


def heads(state: State, dims: tuple[int, ...], said: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Take the heads that were said of each stage, else the published ones of published widths.

    Raises:
        ShapeError: nobody tells them, or shapes contradict them.
    """
    heads = said or HEADS.get(dims)
    if heads is None:
        raise ShapeError(f"widths {dims}, whose heads no shape tells")
    _refuse_unfit(state, dims, heads)
    return heads


def check_heads(state: State, heads: tuple[int, ...]) -> None:
    """Refuse heads that do not divide the widths, or are not those of a slide stage's table.

    Raises:
        ShapeError: a stage has others.
    """
    _refuse_unfit(state, dims(state), heads)


def _refuse_unfit(state: State, widths: tuple[int, ...], heads: tuple[int, ...]) -> None:
    if len(heads) != len(widths):
        raise ShapeError(f"{len(heads)} numbers of heads for {len(widths)} stages")
    for n, (count, width) in enumerate(zip(heads, widths, strict=True), start=1):
        table = state.get(f"block{n}.0.attn.relative_position_bias_table")
        if table is not None and table.shape[1] != count:
            raise ShapeError(f"{table.shape[1]} heads in stage {n}, where widths {widths} have {count}")
        if count < 1 or width % count:
            raise ShapeError(f"{count} heads in stage {n}, which do not divide its width {width}")


def told_heads(state: State) -> tuple[int, ...] | None:
    """Heads that slide tables tell; None where a stage has none."""
    tables = [state.get(f"block{n}.0.attn.relative_position_bias_table") for n in range(1, len(dims(state)) + 1)]
    found = tuple(table.shape[1] for table in tables if table is not None)
    return found if len(found) == len(tables) else None


HEADS_VALUE = ModelValue(
    "heads",
    numbers("1,2,5,8"),
    "heads of each stage's attention",
    "those of the published widths",
    needed=True,
    told=told_heads,
    check=check_heads,
)


def ratios(state: State, dims: tuple[int, ...]) -> tuple[float, ...]:
    """MLP ratio of each stage: hidden width over the stage's width."""
    return tuple(state[f"block{n}.0.mlp.fc1.bias"].shape[0] / dim for n, dim in enumerate(dims, start=1))


def reductions(state: State, default: tuple[int, ...]) -> tuple[int, ...]:
    """Spatial reduction of each stage; the default's for a slide stage, which has none."""
    convolutions = [state.get(f"block{n}.0.attn.sr.weight") for n in range(1, len(default) + 1)]
    return tuple(
        default[n] if f"block{n + 1}.0.attn.dep_conv1.weight" in state else 1 if conv is None else conv.shape[2]
        for n, conv in enumerate(convolutions)
    )


def slide_stages(state: State) -> tuple[tuple[int, ...], int]:
    """Slide stages (0-based), and the side k of their neighbourhood."""
    tables = {
        int(m[1]) - 1: value
        for key, value in state.items()
        if (m := re.fullmatch(r"block(\d+)\.0\.attn\.relative_position_bias_table", key))
    }
    sides = {math.isqrt(table.shape[3]) for table in tables.values()}
    return tuple(sorted(tables)), sides.pop() if sides else 3


class Pyramid(Protocol):
    """What the configurations of both have in common."""

    @property
    def reductions(self) -> tuple[int, ...]:
        """Side of the square of tokens that becomes one key, in each stage."""

    @property
    def slide_stages(self) -> tuple[int, ...]:
        """The stages (0-based) that slide."""

    def resolution(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map (0-based stage)."""


def refuse_empty(config: Pyramid) -> None:
    """Refuse maps that a reduction, or the stages before, leave nothing of; a stage that slides reduces nothing.

    Raises:
        ShapeError: one is smaller than its reduction.
    """
    for stage, reduction in enumerate(config.reductions):
        rows, cols = config.resolution(stage)
        needed = 1 if stage in config.slide_stages else reduction
        if min(rows, cols) < needed:
            raise ShapeError(f"a map of {rows}x{cols} in stage {stage + 1}, which needs {needed} a side")
