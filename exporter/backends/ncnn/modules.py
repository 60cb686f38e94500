"""PyTorch module of each layer, found when a network is made and kept in the layers' names.

pnnx drops the modules' names. They are found again by what does not change on the way:

1. A layer that gives what a module gave for the same image, in the same order, is of it.
2. A layer with weights is the module whose weights have the same bytes or, where it gives something else than that
   module does, for pnnx has put the next one into it, the module around.
3. Any other layer lies between two of those, the last before it and the first after it in the flow of data, and gets
   what their names share: a softmax between `attn.qkv` and `attn.proj` is in `attn`.
"""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .dtypes import SPATIAL
from .network import Layer
from .repair import renamed
from .weights import Tensor

if TYPE_CHECKING:
    from torch import nn

    from slide_export.core.artifact import Array

PREFIX = "wrapper.module."
"""Of a model's modules inside `ForeignModule` and `ExportWrapper`."""
SAME = 1e-3
"""Of the largest value: float32 in another order, where other values of a model differ in their first digits."""
ACTIVATED = SPATIAL | {"InnerProduct"}
ACTIVATION = 9
"""Parameter of these layers: which activation pnnx has put into them; none without it."""
TYPE = "/"
"""Between a layer's module and its type, in its name."""


def by_weights(container: Path, tensors: Sequence[Tensor]) -> dict[int, str]:
    """Case 2: module by index of the layer, from pnnx's own file of weights, which names them.

    Equal tensors are told apart by their order, which is the layers'. Where a module is called several times, pnnx
    stores its weights for each call, and makes names up for the later ones.
    """
    known: dict[bytes, list[str]] = defaultdict(list)
    with zipfile.ZipFile(container) as weights:
        for name in weights.namelist():
            if name.startswith(PREFIX):
                known[weights.read(name)].append(name)
    found: dict[int, str] = {}
    for tensor in tensors:
        names = known.get(tensor.values.tobytes(), [])
        if names:
            name = names.pop(0) if len(names) > 1 else names[0]
            found.setdefault(tensor.layer, name.removeprefix(PREFIX).rpartition(".")[0])
    return found


def given(module: nn.Module, images: Sequence[Any]) -> list[tuple[str, Array]]:
    """What each module of a model gives, in the order in which they end.

    Of one without weights that is called several times, nothing: of a ReLU that is behind every layer, no layer is.
    """
    import torch

    seen: list[tuple[str, Array]] = []

    def keep(name: str) -> Any:
        """Hook that stores a tensor with the module's name."""

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            """Store what is a tensor of numbers."""
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                seen.append((name, output.numpy()))

        return hook

    modules = {name.removeprefix(PREFIX): one for name, one in module.named_modules() if name.startswith(PREFIX)}
    handles = [one.register_forward_hook(keep(name)) for name, one in modules.items()]
    try:
        with torch.inference_mode():
            module(*images)
    finally:
        for handle in handles:
            handle.remove()
    calls = Counter(name for name, _ in seen)
    weighted = {name for name, one in modules.items() if next(one.parameters(), None) is not None}
    return [(name, output) for name, output in seen if calls[name] == 1 or name in weighted]


class Outputs:
    """Outputs of modules, to be found again by their values."""

    def __init__(self, outputs: Sequence[tuple[str, Array]]) -> None:
        self._sizes: dict[str, set[int]] = defaultdict(set)
        self._by_size: dict[int, list[tuple[str, Array, float]]] = defaultdict(list)
        for name, value in outputs:
            self._sizes[name].add(value.size)
            self._by_size[value.size].append((name, value, float(value.max(initial=0.0))))

    def module(self, blob: Array, but: str | None = None) -> str | None:
        """Case 1: the module that gives a blob; the innermost, which ends first.

        Args:
            but: a module that does not, whatever it gave for this image.
        """
        largest = float(blob.max(initial=0.0))  # quickly told
        return next(
            (
                name
                for name, value, its_largest in self._by_size[blob.size]
                if name != but and abs(largest - its_largest) <= SAME * abs(its_largest) and _same(blob, value)
            ),
            None,
        )

    def around(self, module: str, blob: Array) -> str:
        """Case 2: the module that a blob is inside, the output of none, by the module whose weights made it."""
        while blob.size in self._sizes[module]:  # it would pass for that module's output
            module = module.rpartition(".")[0]
        return module


def _same(blob: Array, value: Array) -> bool:
    limit = SAME * float(np.abs(value).max(initial=0.0))
    return bool(np.abs(blob.reshape(-1) - value.reshape(-1)).max(initial=0.0) <= limit)


def is_activated(layer: Layer) -> bool:
    """Whether a layer gives what an activation made of its sums, which for an image of no negative one are the same."""
    return layer.type in ACTIVATED and layer.integer(ACTIVATION) != 0


def scopes(layers: Sequence[Layer], own: Mapping[int, str]) -> list[str]:
    """Case 3: the module of every layer, "" where nothing tells."""
    before, after = _before(layers, own), _after(layers, own)
    return [
        own[index] if index in own else _shared(before.get(index, ""), after.get(index, ""))
        for index in range(len(layers))
    ]


def _before(layers: Sequence[Layer], own: Mapping[int, str]) -> dict[int, str]:
    """Last known module that each layer depends on."""
    last: dict[str, tuple[int, str]] = {}
    found: dict[int, str] = {}
    for index, layer in enumerate(layers):
        sources = [last[name] for name in layer.inputs if name in last]
        if index in own:
            sources.append((index, own[index]))
        if sources:
            found[index] = max(sources)[1]
            last.update((name, max(sources)) for name in layer.outputs)
    return found


def _after(layers: Sequence[Layer], own: Mapping[int, str]) -> dict[int, str]:
    """First known module that each layer flows into."""
    first: dict[str, tuple[int, str]] = {}
    found: dict[int, str] = {}
    for index in reversed(range(len(layers))):  # users before what they take
        layer = layers[index]
        users = [first[name] for name in layer.outputs if name in first]
        entry = (index, own[index]) if index in own else min(users, default=None)
        if entry is not None:
            found[index] = entry[1]
            for name in layer.inputs:
                first[name] = min(first.get(name, entry), entry)
    return found


def _shared(before: str, after: str) -> str:
    """Longest path that both names have; of equal names, and of one alone, the parent.

    Given   layers.0.attn.qkv before, layers.0.attn.proj after     Result  layers.0.attn
    """
    if not before or not after or before == after:
        return (before or after).rpartition(".")[0]
    shared: list[str] = []
    for left, right in zip(before.split("."), after.split("."), strict=False):
        if left != right:
            break
        shared.append(left)
    return ".".join(shared)


def named(layers: Sequence[Layer], own: Mapping[int, str], ends: Mapping[str, str]) -> tuple[Layer, ...]:
    """The layers called after module and type, their blobs after them, the network's ends as the task calls them.

        Given    Gemm gemm_5 1 1 500 501
        Result   Gemm layers.0.blocks.0.mlp.fc1/Gemm 1 1 … layers.0.blocks.0.mlp.fc1/Gemm

    Args:
        own: modules by index, of cases 1 and 2.
        ends: the task's name of each input and output, by pnnx's.
    """
    taken: dict[str, int] = defaultdict(int)
    blobs: dict[str, str] = {}
    found = []
    for layer, scope in zip(layers, scopes(layers, own), strict=True):
        stem = f"{scope}{TYPE}{layer.type}"
        name = f"{stem}.{taken[stem]}" if taken[stem] else stem
        taken[stem] += 1
        for position, blob in enumerate(layer.outputs):
            blobs[blob] = ends.get(blob, f"{name}:{position}" if position else name)
        found.append(replace(layer, name=name))
    return renamed(tuple(found), blobs)


def module_of(layer: Layer) -> str:
    """The module in a layer's name; "" where there is none."""
    return layer.name.rpartition(TYPE)[0]
