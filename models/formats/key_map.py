"""Key maps: which tensors of a library's state dict make which tensor of this project's, as data.

    Rule("encoder.layers.{s}.blocks.{j}.layernorm_before.{x}", "layers.{s}.blocks.{j}.norm1.{x}")
    Rule(("{b}.query.{x}", "{b}.key.{x}"), {"{b}.qk.{x}": joined})

`{s}` and `{j}` stand for a number, `{x}` and `{b}` for any text; a target may count: `{s+1}`, `{s-1}`. A map is used
with a reverse check: every key of the file is used by one rule, and no two rules make the same tensor.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from slide_export.models.family import ShapeError, State

Make = Callable[..., Tensor]
NUMBERS = "sj"  # placeholders of numbers; all others stand for text


def same(tensor: Tensor) -> Tensor:
    """Take a tensor as it is."""
    return tensor


def joined(*tensors: Tensor) -> Tensor:
    """Put tensors below each other, as queries, keys and values of separate layers: 3 times [C, C] -> [3C, C]."""
    return torch.cat(tensors)


def first_third(tensor: Tensor) -> Tensor:
    """Take the queries' rows of a joint projection: [3C, ...] -> [C, ...]."""
    return tensor[: tensor.shape[0] // 3]


def last_thirds(tensor: Tensor) -> Tensor:
    """Take the keys' and values' rows of a joint projection: [3C, ...] -> [2C, ...]."""
    return tensor[tensor.shape[0] // 3 :]


def as_linear(tensor: Tensor) -> Tensor:
    """Take a 1x1 convolution for a linear layer: [out, in, 1, 1] -> [out, in]; a bias as it is."""
    return tensor.flatten(1) if tensor.ndim > 1 else tensor


def as_square(tensor: Tensor) -> Tensor:
    """Give the flat index of a window its two axes: [N*N] -> [N, N]."""
    side = round(tensor.numel() ** 0.5)
    return tensor.reshape(side, side)


def row(number: int) -> Make:
    """Take one row of a stacked parameter: [2, C] -> [C]."""
    return lambda tensor: tensor[number]


def columns_by_place(tensor: Tensor) -> Tensor:
    """Reorder the four neighbours that patch merging joins from nn.Unfold's order to Swin's.

    Given   channel m = 4*c + 2*row + col        (OpenMMLab, PatchMerging: nn.Unfold)
    Result  channel o = (row + 2*col)*C + c      (Swin, PatchMerging: x[0::2, 0::2], x[1::2, 0::2], ...)

    The reduction's weight [2C, 4C] along its last axis, and the norm's weight and bias [4C].
    Source: mmcv 2.1, mmcv/cnn/bricks/transformer.py, PatchMerging; microsoft/Swin-Transformer f82860b, PatchMerging.
    """
    channels = tensor.shape[-1] // 4
    parted = tensor.reshape(-1, channels, 2, 2)  # [2C or 1, C, row, col]
    return parted.permute(0, 3, 2, 1).reshape(tensor.shape)  # [2C or 1, col, row, C] -> [..., 4C]


@dataclass(frozen=True)
class Rule:
    """Tensors that make one or several others.

    Attributes:
        sources: their names in the library, one or several that are handed on together.
        targets: name here -> what makes it of the sources; a bare name takes the only source; none drops it.
    """

    sources: str | tuple[str, ...]
    targets: str | Mapping[str, Make] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources, always a tuple."""
        return (self.sources,) if isinstance(self.sources, str) else self.sources

    @property
    def makers(self) -> Mapping[str, Make]:
        """The targets, always a mapping."""
        return {self.targets: same} if isinstance(self.targets, str) else self.targets


def layer(source: str, target: str, make: Make = same) -> Rule:
    """Rename a module: its weight and its bias."""
    return Rule(f"{source}.{{x}}", {f"{target}.{{x}}": make})


def layers(sources: tuple[str, ...], target: str, make: Make = joined) -> Rule:
    """Make one module of several: their weights and their biases."""
    return Rule(tuple(f"{source}.{{x}}" for source in sources), {f"{target}.{{x}}": make})


@runtime_checkable
class Joins(Protocol):
    """A state dict on disk that brings several of its tensors into one without a copy of each."""

    def joined(self, keys: Sequence[str]) -> Tensor:
        """The tensors below each other, as `joined` puts them."""


@dataclass(frozen=True)
class Origin:
    """How one tensor here is made of a file's.

    Attributes:
        keys: their names in the file.
        make: called with them, in this order.
    """

    keys: tuple[str, ...]
    make: Make = same

    def __call__(self, state: State) -> Tensor:
        """Make the tensor; what is only put below each other is read to its place, where the state can."""
        if self.make is joined and isinstance(state, Joins):
            return state.joined(self.keys)
        return self.make(*(state[key] for key in self.keys))


@dataclass(frozen=True)
class Renamed:
    """A state dict seen through a key map.

    Attributes:
        origins: name here -> what it is made of.
        dropped: keys that a rule drops, since they follow from the architecture.
        unknown: keys that no rule names.
    """

    origins: Mapping[str, Origin]
    dropped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def rename(rules: Iterable[Rule], keys: Iterable[str]) -> Renamed:
    """Apply a key map to the names of a state dict.

    Raises:
        ShapeError: a rule lacks one of its sources, or two rules make the same tensor.
    """
    remaining, dropped = dict.fromkeys(keys), list[str]()
    origins: dict[str, Origin] = {}
    present = frozenset(remaining)
    for rule in rules:
        for first in list(remaining):
            match = _pattern(rule.names[0]).fullmatch(first)
            if match is None:
                continue
            used = tuple(_filled(name, match.groupdict()) for name in rule.names)
            if missing := [key for key in used if key not in present]:
                raise ShapeError(f"{first} without {missing[0]}")
            for key in used:
                remaining.pop(key, None)
            if not rule.makers:
                dropped += used
            for target, make in rule.makers.items():
                name = _filled(target, match.groupdict())
                if name in origins:
                    raise ShapeError(f"both {first} and {origins[name].keys[0]}, which are the same tensor")
                origins[name] = Origin(used, make)
    return Renamed(origins, tuple(dropped), tuple(remaining))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w)\}", template)  # text, name, text, name, ...
    seen: set[str] = set()
    pattern = re.escape(parts[0])
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        group = f"(?P<{name}>{r'[0-9]+' if name in NUMBERS else '.+'})"
        pattern += (f"(?P={name})" if name in seen else group) + re.escape(text)
        seen.add(name)
    return re.compile(pattern)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill a template's placeholders: `{s+1}` counts on."""

    def value(match: re.Match[str]) -> str:
        """Number for one placeholder, with what is added to it."""
        name, step = match[1], match[2]
        return str(int(values[name]) + int(step)) if step else values[name]

    return re.sub(r"\{(\w)([+-][0-9]+)?\}", value, template)
