"""What pnnx writes and ncnn runs badly or not at all, made good: one function a fault.

Shapes come from two places: ncnn's own run of the network on one image, and the text that pnnx leaves of the graph
before it is ncnn's (`model.pnnx.param`), which says the shape of every value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slide_export.core.errors import LoweringError

from .network import Layer
from .runtime import MOST_DIMENSIONS

Layers = tuple[Layer, ...]
EXPRESSION = 6
"""Parameter of Reshape: a shape to be computed from the inputs' at each call."""
SIDES = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
"""Parameters of Reshape for a shape of that many axes, outermost first: c, d, h, w."""
UNKNOWN_RESHAPE = ("Tensor.reshape", "Tensor.view")
SHAPE = re.compile(r"#(\S+?)=\(([\d,]*)\)")


def settle_batch_reshapes(layers: Layers, source: str) -> Layers:
    """Say reshapes with the batch of one image in front without it, which no layer of ncnn can say at rank 5.

    1. The value is the same with an axis of 1 in front: ncnn has no batch axis, so it is the value itself.
    2. Another shape with an axis of 1 in front: a Reshape to the other axes, if they are no more than ncnn's.
    3. Any other shape: stays, and is refused as a layer that ncnn does not have.

        Given    MatMul [64, 3, 49, 49] -> Tensor.reshape [1, 64, 3, 49, 49] -> Add (bias [64, 3, 49, 49])
        Result   MatMul [64, 3, 49, 49] -> Add
        Given    MatMul [64, 3, 2401] -> Tensor.reshape [1, 64, 3, 49, 49]
        Result   MatMul [64, 3, 2401] -> Reshape [64, 3, 49, 49]

    Args:
        source: text of pnnx's own graph.
    """
    told = {words[1]: line for line in source.splitlines() if len(words := line.split(None, 2)) > 1}
    kept: list[Layer] = []
    dropped: dict[str, str] = {}
    for layer in layers:
        before, after = _shapes(told.get(layer.name, "")) if layer.type in UNKNOWN_RESHAPE else ((), ())
        if after == (1, *before):  # Case 1
            dropped[layer.outputs[0]] = layer.inputs[0]
        elif after[:1] == (1,) and len(after) <= 1 + MOST_DIMENSIONS:  # Case 2
            kept.append(_fixed(replace(layer, type="Reshape"), after[1:]))
        else:  # Case 3
            kept.append(layer)
    return renamed(tuple(kept), dropped)


def _shapes(line: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of a layer's input and output, as pnnx's own graph tells them; empty where it does not."""
    shapes = [tuple(map(int, sides.split(","))) for _, sides in SHAPE.findall(line) if sides]
    return (shapes[0], shapes[-1]) if len(shapes) > 1 else ((), ())


def renamed(layers: Layers, names: Mapping[str, str]) -> Layers:
    """The layers with blobs under other names, where one may stand for another that is renamed itself."""

    def final(name: str) -> str:
        """The name at the end of the chain."""
        while name in names:
            name = names[name]
        return name

    return tuple(
        replace(layer, inputs=tuple(map(final, layer.inputs)), outputs=tuple(map(final, layer.outputs)))
        for layer in layers
    )


def fix_shapes(layers: Layers, shapes_of: Callable[[Sequence[str]], Mapping[str, tuple[int, ...]]]) -> Layers:
    """Write the shape in the place of each expression: a Reshape that computes one takes 25 to 79 ms, else 0.3.

        Given    Reshape(x, like) 6="0w,1h,1c"
        Result   Reshape(x) 0=96 1=56 2=56

    Args:
        shapes_of: shapes of blobs by name, as ncnn computes them.

    Raises:
        LoweringError: a blob has more axes than ncnn's.
    """
    computed = [layer.outputs[0] for layer in layers if layer.type == "Reshape" and EXPRESSION in layer.parameters]
    shapes = shapes_of(computed)
    return tuple(_fixed(layer, shapes[layer.outputs[0]]) if layer.outputs[0] in shapes else layer for layer in layers)


def _fixed(layer: Layer, shape: tuple[int, ...]) -> Layer:
    if not 1 <= len(shape) <= MOST_DIMENSIONS:
        raise LoweringError(f"expected at most {MOST_DIMENSIONS} axes in {layer.name}, found {len(shape)}")
    sides = {key: str(side) for key, side in zip(SIDES[len(shape)], shape, strict=True)}
    return replace(layer, inputs=layer.inputs[:1], parameters=dict(sorted(sides.items())))


def drop_unused(layers: Layers) -> Layers:
    """Drop outputs of a Split that nothing takes, and a Split with one output left.

    Given    Split x -> a, b, c; nothing takes b and c
    Result   the users of a take x
    """
    used = Counter(name for layer in layers for name in layer.inputs)
    kept: list[Layer] = []
    same: dict[str, str] = {}
    for layer in layers:
        if layer.type != "Split":
            kept.append(layer)
            continue
        taken = tuple(name for name in layer.outputs if used[name])
        if len(taken) > 1:
            kept.append(replace(layer, outputs=taken))
        else:
            same.update((name, layer.inputs[0]) for name in taken)
    return renamed(tuple(kept), same)
