"""GAM in ResNet: the global attention mechanism in every residual block, in a dialect that the user names.

No repository is authoritative and no checkpoint is published. Whether the channel branch ends in a sigmoid changes no
key and no shape, so a file of dialect a or a_plain (or b, of which another fork exists) is refused until its dialect is
told. The block may have any name inside the residual block.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import config_tree
from .family import Family, ShapeError, State
from .global_attention import DIALECTS, attention
from .model_value import ModelValue, one_of
from .resnet import COUNTERS, ResNet, ResNetConfig, attention_names, infer_resnet, read_data, without_counts

OPTION = "gam_dialect"
SEQUENTIAL = r"channel_attention\.0\.weight"  # of dialects a, a_plain, b
NAMED = r"linear1\.weight"  # of dialect c
MEANING = {
    "a": "a sigmoid on the channel branch",
    "a_plain": "no sigmoid on the channel branch",
    "b": "grouped convolutions, no sigmoid on the channel branch, a shuffled spatial map",
    "c": "edge-padded convolutions",
}


@dataclass(frozen=True)
class GamConfig(ResNetConfig):
    """The numbers of one ResNet with GAM.

    Attributes:
        dialect: "a", "a_plain", "b" or "c" (global_attention.py has the table).
        rate: channels over the width in the middle of both branches.
        block: what the residual blocks call the attention block.
    """

    dialect: str = "a"
    rate: int = 4
    block: str = "gam"


class GamResNet(ResNet):
    """ResNet with GAM in every residual block.

    Raises:
        ShapeError: there is no such dialect.
    """

    def __init__(self, config: GamConfig) -> None:
        if config.dialect not in DIALECTS:
            raise ShapeError(f"{OPTION} {config.dialect!r}, where one of {', '.join(DIALECTS)} is expected")
        super().__init__(config, config.block, lambda dim: attention(dim, config.rate, config.dialect))


def matches(state: State) -> bool:
    """Whether the keys are those of a ResNet with GAM in any dialect."""
    return "conv1.weight" in state and bool(attention_names(state, SEQUENTIAL) | attention_names(state, NAMED))


def infer(state: State, dialect: str | None = None) -> GamConfig:
    """The configuration that the shapes of a state dict tell, for input 224.

    Args:
        dialect: what the user says it is; None leaves it to the keys, which tell dialect c alone.

    Raises:
        ShapeError: the shapes fit no such model, nobody tells the dialect, or the keys contradict what is told.
    """
    resnet, possible = infer_resnet(state), possible_dialects(state)
    if dialect is None and possible != ("c",):
        choices = " or ".join(f"{OPTION}={each} ({MEANING[each]})" for each in possible)
        raise ShapeError(f"keys that do not tell which GAM it is: say {choices}")
    if dialect is not None and dialect not in possible:
        raise ShapeError(f"{OPTION}={dialect}, where the keys are those of {' or '.join(possible)}")
    dialect = dialect or possible[0]
    (block,) = attention_names(state, NAMED if dialect == "c" else SEQUENTIAL)
    first = _first(state, block, dialect)
    return GamConfig(**asdict(resnet), dialect=dialect, rate=first[1] // first[0], block=block)


def possible_dialects(state: State) -> tuple[str, ...]:
    """The dialects that the keys and shapes leave open.

    Raises:
        ShapeError: the blocks have several names, or the convolutions have groups that no dialect has.
    """
    sequential, named = attention_names(state, SEQUENTIAL), attention_names(state, NAMED)
    if len(sequential | named) != 1:
        raise ShapeError(f"attention blocks of several names, {', '.join(sorted(sequential | named))}")
    (block,) = sequential | named
    if named:
        return ("c",)
    hidden, dim = _first(state, block, "a")
    inputs = state[f"layer1.0.{block}.spatial_attention.0.weight"].shape[1]
    if inputs == dim:
        return ("a", "a_plain")
    if inputs * (dim // hidden) != dim:
        raise ShapeError(f"7x7 convolutions in {dim // inputs} groups, where GAM has 1 or its rate, {dim // hidden}")
    return ("b",)


def _first(state: State, block: str, dialect: str) -> tuple[int, int]:
    """Shape of the first matrix of the channel branch: hidden width and channels."""
    layer = "linear1" if dialect == "c" else "channel_attention.0"
    hidden, dim = state[f"layer1.0.{block}.{layer}.weight"].shape
    return hidden, dim


def resize(config: GamConfig, size: GamConfig) -> GamConfig:
    """Copy `config` with the blocks and the dialect of `size`."""
    return replace(config, depths=size.depths, bottleneck=size.bottleneck, width=size.width, dialect=size.dialect)


def read_config(tree: Mapping[str, Any]) -> GamConfig | None:
    """The configuration in a tree of this project's form, which names the dialect; upstream saves none."""
    return config_tree.read_config(tree, "gam", GamConfig)


VARIANTS = {f"gam_resnet18_{each}": GamConfig((2, 2, 2, 2), bottleneck=False, dialect=each) for each in DIALECTS}
"""The dialect is part of the name, so that who names a variant has told it."""

FAMILY = Family(
    name="gam",
    variants=VARIANTS,
    matches=matches,
    infer=infer,
    resize=resize,
    read_config=read_config,
    read_data=read_data,
    build=GamResNet,
    canonical=without_counts,
    assumed="no shape tells the input: 224x224 (32x32 behind a 3x3 stem)",
    optional=COUNTERS,
    values=(
        ModelValue(
            OPTION,
            one_of({each: each for each in DIALECTS}),
            "which of GAM's published forms the blocks have",
            "none: a file whose keys do not tell it is refused",
            field="dialect",
            needed=True,
            assumed=False,
        ),
    ),
)
