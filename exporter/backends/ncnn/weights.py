"""The weights of a network (`model.bin`): what each layer reads from it, in the order of the layers.

A tensor is plain float32 (a bias, a LayerNorm's scale), or has a tag of four bytes in front that says how it is stored;
data end at a multiple of four bytes. Nothing else stands in the file: it has no names and no table.

Source: Tencent/ncnn 20261020, docs/developer-guide/operation-param-weight-table.md; src/modelbin.cpp,
ModelBinFromDataReader::load; src/layer/*.cpp, load_model of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

from .network import ABSENT, Layer, weights_of

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

TAGS: Mapping[int, str] = {0: "float32", 0x01306B47: "float16"}
"""How a tagged tensor is stored; int8 (0x000D4B38) and tables of 256 entries are written by ncnn's own tools alone."""
HALF = 0x01306B47
ALIGNED = 4
MEMORY_LOAD = 21
"""Parameter of MemoryData: 1 is plain float32, 0 is tagged."""


@dataclass(frozen=True)
class Part:
    """A tensor that a layer reads: what it is, its shape, and whether a tag stands in front."""

    name: str
    shape: tuple[int, ...]
    tagged: bool = False


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        layer: index of the layer that reads it.
        stored: element type in the file.
        values: as they are stored.
    """

    layer: int
    part: Part
    stored: str
    values: Array


def _convolution(layer: Layer) -> Iterator[Part]:
    outputs, taps = layer.integer(0), layer.integer(1, 1) * layer.integer(11, layer.integer(1, 1))
    size = layer.integer(6)
    per_output = size // max(1, outputs * taps)
    yield Part("weight", (outputs, per_output, taps) if per_output * outputs * taps == size else (size,), tagged=True)
    if layer.integer(5):
        yield Part("bias", (outputs,))


def _inner_product(layer: Layer) -> Iterator[Part]:
    outputs, size = layer.integer(0), layer.integer(2)
    yield Part("weight", (outputs, size // max(1, outputs)), tagged=True)
    if layer.integer(1):
        yield Part("bias", (outputs,))


def _gemm(layer: Layer) -> Iterator[Part]:
    """Product A B and sum C, where each of the three may be a constant."""
    rows, columns, inner = layer.integer(7), layer.integer(8), layer.integer(9)
    if layer.integer(4):
        yield Part("a", (inner, rows) if layer.integer(2) else (rows, inner), tagged=True)
    if layer.integer(5):
        yield Part("weight", (columns, inner) if layer.integer(3) else (inner, columns), tagged=True)
    shapes = {0: (1,), 1: (rows,), 2: (rows, 1), 3: (rows, columns), 4: (1, columns)}
    if layer.integer(6) and (shape := shapes.get(layer.integer(10))) is not None:
        yield Part("bias", shape, tagged=True)


def _affine(size: int, switch: int, *names: str) -> Callable[[Layer], Iterator[Part]]:
    """Plain vectors of parameter `size`, unless parameter `switch` is 0."""

    def parts(layer: Layer) -> Iterator[Part]:
        """The vectors of one layer."""
        if layer.integer(switch, 1):
            yield from (Part(name, (layer.integer(size),)) for name in names)

    return parts


def _memory(layer: Layer) -> Iterator[Part]:
    sides = [side for side in (layer.integer(key) for key in (2, 11, 1, 0)) if side]  # c, d, h, w
    yield Part("data", tuple(sides), tagged=not layer.integer(MEMORY_LOAD, 1))


def _scale(layer: Layer) -> Iterator[Part]:
    if layer.integer(0) != ABSENT:
        yield Part("scale", (layer.integer(0),))
        if layer.integer(1):
            yield Part("bias", (layer.integer(0),))


PARTS: Mapping[str, Callable[[Layer], Iterator[Part]]] = {
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Deconvolution": _convolution,
    "DeconvolutionDepthWise": _convolution,
    "InnerProduct": _inner_product,
    "Gemm": _gemm,
    "LayerNorm": _affine(0, 2, "weight", "bias"),
    "RMSNorm": _affine(0, 2, "weight"),
    "GroupNorm": _affine(1, 3, "weight", "bias"),
    "InstanceNorm": _affine(0, 2, "weight", "bias"),
    "BatchNorm": _affine(0, 0, "weight", "mean", "variance", "bias"),
    "PReLU": _affine(0, 0, "slope"),
    "Bias": _affine(0, 0, "bias"),
    "Scale": _scale,
    "MemoryData": _memory,
}
"""What each type of layer reads; the others read nothing, and a file that holds more than these is refused."""


def read(layers: Iterable[Layer], data: bytes) -> Iterator[Tensor]:
    """Every tensor of the file, in its order.

    Raises:
        BundleError: the file holds more or less than the layers read, or a tensor in a way that is not known here.
    """
    offset = 0
    for index, layer in enumerate(layers):
        for part in PARTS.get(layer.type, _nothing)(layer):
            stored = "float32"
            if part.tagged:
                stored, offset = _tag(layer, data, offset), offset + ALIGNED
            count = math.prod(part.shape)
            size = count * np.dtype(stored).itemsize
            if offset + size > len(data):
                raise BundleError(
                    f"expected {offset + size} bytes or more of weights, found {len(data)}: "
                    f"the file ends before the {part.name} of {layer.name}"
                )
            values = np.frombuffer(data, stored, count, offset).reshape(part.shape)
            yield Tensor(index, part, stored, values)
            offset += size + -size % ALIGNED
    if offset != len(data):
        raise BundleError(f"expected {offset} bytes of weights for the layers of the network, found {len(data)}")


def _nothing(_layer: Layer) -> Iterator[Part]:
    return iter(())


def _tag(layer: Layer, data: bytes, offset: int) -> str:
    tag = int.from_bytes(data[offset : offset + ALIGNED], "little")
    if tag not in TAGS:
        raise BundleError(
            f"expected weights in {' or '.join(TAGS.values())} in the layer {layer.name}, found the tag {tag:#010x}"
        )
    return TAGS[tag]


def in_float32_alone(layer: Layer, part: Part) -> bool:
    """Whether a layer can read a part in float32 alone: it has no tag, where a constant of the graph can get one."""
    return not part.tagged and layer.type != "MemoryData"


def halved(layers: tuple[Layer, ...], data: bytes) -> tuple[tuple[Layer, ...], bytes]:
    """The layers and their file with every tensor that can be stored so in float16, rounded to the nearest.

    Biases, and scales of norms, have no tag: ncnn reads them in float32 alone. A constant of the graph gets one.
    """
    tagged = tuple(
        replace(layer, parameters={**layer.parameters, MEMORY_LOAD: "0"}) if layer.type == "MemoryData" else layer
        for layer in layers
    )
    written = bytearray()
    for tensor in read(layers, data):
        if in_float32_alone(layers[tensor.layer], tensor.part):
            written += tensor.values.astype("<f4").tobytes()
            continue
        with np.errstate(over="ignore"):  # infinite where it is beyond the type: the proof judges that
            half = tensor.values.astype("<f2").tobytes()
        written += HALF.to_bytes(ALIGNED, "little") + half + bytes(-len(half) % ALIGNED)
    return tagged, bytes(written)


def load(path: Path) -> bytes:
    """The weights of the network at `path`.

    Raises:
        BundleError: they cannot be read.
    """
    file = weights_of(path)
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"expected the weights of a network, {file} cannot be read: {foreign(error)}") from error
