"""The text of a network (`model.param`): its layers, read and written.

    7767517                                                      the format
    505 664                                                      layers, blobs
    Convolution  patch_embed.proj/Convolution  1 1  images 1     0=16 1=4 5=1 6=768
    type         name                          inputs, outputs   parameters by number; -23300-n is an array of n

Source: Tencent/ncnn 20261020, docs/developer-guide/param-and-model-file-structure.md; src/net.cpp, Net::load_param.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

MAGIC = "7767517"
LARGEST = 1 << 26
"""Bytes of a text that is read, hundreds of times the largest network of ours."""
HEADER_LINES = 2
PARAMETER = re.compile(r'(-?\d+)=("[^"]*"|\S+)')
ARRAY = -23300
"""Keys at or below stand for an array: its length, then its entries."""
ABSENT = -233
"""A number that stands for "not given"."""


@dataclass(frozen=True)
class Layer:
    """A line of the text.

    Attributes:
        type: ncnn's name of what it computes.
        parameters: by number, as they are written.
    """

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, str] = field(default_factory=dict)

    def integer(self, key: int, default: int = 0) -> int:
        """A parameter that is a whole number.

        Raises:
            BundleError: it is something else.
        """
        text = self.parameters.get(key, str(default))
        try:
            return int(text)
        except ValueError as error:
            raise BundleError(
                f"expected a whole number as parameter {key} of the layer {foreign(self.name)}, found {foreign(text)!r}"
            ) from error

    def line(self) -> str:
        """The layer as ncnn reads it."""
        ends = (*self.inputs, *self.outputs, *(f"{key}={text}" for key, text in self.parameters.items()))
        return " ".join((f"{self.type:<24} {self.name:<24}", str(len(self.inputs)), str(len(self.outputs)), *ends))


def parse(text: str, name: str = "model.param") -> tuple[Layer, ...]:
    """The layers of a text, in the order of execution.

    Raises:
        BundleError: it is no network.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0].strip() != MAGIC:
        raise BundleError(f"expected a network of ncnn in {name}, whose first line is {MAGIC}; found another file")
    layers = tuple(_layer(line, name) for line in lines[HEADER_LINES:])
    blobs = sum(len(layer.outputs) for layer in layers)
    if len(lines) < HEADER_LINES or lines[1].split() != [str(len(layers)), str(blobs)]:
        said = foreign(lines[1].strip()) if len(lines) > 1 else "nothing"
        raise BundleError(
            f"expected as many layers and blobs in {name} as its second line says, {said}; found {len(layers)} {blobs}"
        )
    return layers


def _layer(line: str, name: str) -> Layer:
    words = line.split(None, 4)
    try:
        kind, own, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
        rest = (words[4] if len(words) > 4 else "").split(None, inputs + outputs)
        blobs, parameters = rest[: inputs + outputs], rest[inputs + outputs :]
        if min(inputs, outputs) < 0 or len(blobs) != inputs + outputs:
            raise ValueError("fewer blobs than it counts")
    except (IndexError, ValueError) as error:
        raise BundleError(f"expected a layer in each line of {name}, found {foreign(line)!r}") from error
    found = {int(key): text for key, text in PARAMETER.findall(parameters[0] if parameters else "")}
    return Layer(kind, own, tuple(blobs[:inputs]), tuple(blobs[inputs:]), found)


def render(layers: Iterable[Layer]) -> str:
    """The text of layers; the same for the same layers."""
    listed = tuple(layers)
    blobs = sum(len(layer.outputs) for layer in listed)
    return "\n".join((MAGIC, f"{len(listed)} {blobs}", *(layer.line() for layer in listed), ""))


def read(path: Path) -> tuple[Layer, ...]:
    """The layers of a file.

    Raises:
        BundleError: it cannot be read, or is no network.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BundleError(f"expected a network of ncnn of at most {LARGEST} bytes, found more in {path}")
        return parse(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"expected a network of ncnn, {path} cannot be read: {foreign(error)}") from error


def weights_of(path: Path) -> Path:
    """The file with the weights of a network."""
    return path.with_suffix(".bin")
