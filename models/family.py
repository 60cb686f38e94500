"""What a model family offers to the rest: its variants, how to recognise a checkpoint of it, how to build it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from torch import Tensor, nn

from .data import DataConfig
from .model_value import ModelValue

State = Mapping[str, Tensor]


class Config(Protocol):
    """The numbers that make one model of a family; a frozen dataclass in the family's file."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Rows and columns of the input."""

    @property
    def num_classes(self) -> int:
        """Width of the head."""

    def at(self, image_size: tuple[int, int]) -> Self:
        """Same model at another input size."""


@dataclass(frozen=True)
class Published:
    """What the authors say of a variant on ImageNet-1K.

    Attributes:
        parameters_m: millions.
        flops_g: thousand millions of multiply-adds at `image_size`, as papers count them.
        top1: percent.
        source: paper and table, or repository and file.
    """

    parameters_m: float
    flops_g: float
    top1: float
    source: str


@dataclass(frozen=True)
class Family:
    """One architecture and its checkpoint format.

    Attributes:
        name: the architecture's name, also its file's.
        variants: named sizes.
        matches: whether a state dict is of this family, from its key names alone.
        infer: the configuration that a state dict's shapes tell; raises `ShapeError` where they tell none. Takes the
            fields of `values` that are `needed` as keywords.
        resize: (configuration, a variant's) -> the first one at the widths, depths and heads of the second.
        read_config: the configuration in the training code's own config tree, or None where it says too little.
        read_data: (that tree or None, the trained configuration) -> the preprocessing.
        build: the train-time module of a configuration, randomly initialised.
        adapt: (state dict, its configuration, wanted configuration) -> state dict that fits the wanted one.
        canonical: state dict as a file has it -> as the module has it, where upstream's own loader changes it too.
        assumed: what else `infer` takes for granted, for people: a sentence, or what makes one of a state dict.
        remarks: what a model of a configuration does otherwise than most people expect, a sentence each.
        values: what a user may say because no file may tell it, in the order in which it is applied.
        optional: endings of keys that follow from the configuration, so a checkpoint may lack them.
        task: name of what the models are for; "classify", or one of `slide_export.tasks`.
        inputs: images that a module takes.
        has_classes: whether a model gives scores of classes, so that a checkpoint without its head is refused.
        float32: patterns of modules that stay in float32 where a graph carries float16.
        published: the authors' figures of variants, where they gave any.
        backbone: name of the family that a head stands on, of a segmenter or detector; "" elsewhere.
    """

    name: str
    variants: Mapping[str, Any]
    matches: Callable[[State], bool]
    infer: Callable[..., Any]
    resize: Callable[[Any, Any], Any]
    read_config: Callable[[Mapping[str, Any]], Any | None]
    read_data: Callable[[Mapping[str, Any] | None, Any], DataConfig]
    build: Callable[[Any], nn.Module]
    adapt: Callable[[State, Any, Any], State] = field(default=lambda state, _trained, _wanted: state)
    canonical: Callable[[State], State] = field(default=lambda state: state)
    assumed: str | Callable[[State], str] = ""
    remarks: Callable[[Any], tuple[str, ...]] = field(default=lambda _config: ())
    values: tuple[ModelValue, ...] = ()
    optional: tuple[str, ...] = ()
    task: str = "classify"
    inputs: int = 1
    has_classes: bool = True
    float32: tuple[str, ...] = ()
    published: Mapping[str, Published] = field(default_factory=dict)
    backbone: str = ""


class ShapeError(ValueError):
    """A state dict has a family's key names but shapes that no model of it has."""


class IncompleteError(ShapeError):
    """A configuration that is this family's and does not tell the whole model.

    Attributes:
        missing: the fields, with their branches.
    """

    def __init__(self, missing: Iterable[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(f"a configuration without {', '.join(self.missing)}")


class UntoldError(ShapeError):
    """What no shape and no file tells, and a user may say.

    Attributes:
        value: name of the family's value that says it.
        example: how it is written.
    """

    def __init__(self, message: str, value: str, example: str) -> None:
        super().__init__(message)
        self.value, self.example = value, example


def handed_on(stages: tuple[int, ...], maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Take the maps that a backbone hands on, in the order of its stages.

    Args:
        stages: which (0-based); empty takes every one.
        maps: of every stage.
    """
    return tuple(each for stage, each in enumerate(maps) if not stages or stage in stages)


def classes(state: State, head: str = "head") -> int:
    """Width of a state dict's head, 0 where it has none.

    Args:
        head: name of its linear layer.
    """
    return state[f"{head}.weight"].shape[0] if f"{head}.weight" in state else 0


def classifier(width: int, num_classes: int) -> nn.Module:
    """Make the last linear layer; one that passes its input on where a model has no classes."""
    return nn.Linear(width, num_classes) if num_classes else nn.Identity()


def slides(state: State) -> bool:
    """Whether any block has slide attention."""
    return any(".dep_conv1." in key for key in state)


def clusters(state: State) -> bool:
    """Whether any block has content attention, among tokens that are alike."""
    return any(".attnC." in key or ".content_attn." in key for key in state)


def depths(state: State, block: str) -> tuple[int, ...]:
    """Number of blocks of each stage.

    Args:
        block: what the keys of a block begin with, a pattern with a group for the stage's number and one for its own.

    Raises:
        ShapeError: there is no block.
    """
    found = {(int(m[1]), int(m[2])) for key in state if (m := re.match(block, key))}
    if not found:
        raise ShapeError("no blocks")
    highest = max(max(place) for place in found)
    if highest >= len(state):
        raise ShapeError(f"a block numbered {highest}, where the file has {len(state)} tensors")
    stages = sorted({stage for stage, _ in found})
    return tuple(1 + max(number for at, number in found if at == stage) for stage in stages)


def coupled(module: nn.Module) -> int:
    """How many images in a row of a batch change each other's outputs: 1, or what the module's own `coupled` says."""
    return int(getattr(module, "coupled", 1))
