"""Inside a network: the time of each layer, and the values on the way to the outputs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends.profile import WARM, lines
from slide_export.core.artifact import Feeds
from slide_export.core.errors import BundleError
from slide_export.core.graph import Value
from slide_export.core.measurement import Executed, ModuleTime

from . import network
from .dtypes import product_of
from .modules import module_of
from .network import Layer
from .runtime import extractor, open_net
from .session import Session

RAW = 1
"""Give a blob as it lies, in the layout that the next layer takes, without making a plain array of it."""


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every blob that depends on an input, in the order of execution; those of a Split are its input's.

    Raises:
        BundleError: the network cannot be read.
    """
    same: dict[str, str] = {}  # what a Split gives: the blob that it copies
    live: set[str] = set()
    found = []
    for layer in network.read(path):
        if layer.type == "Input":
            live.update(layer.outputs)
        takes = tuple(same.get(name, name) for name in layer.inputs if same.get(name, name) in live)
        if layer.type == "Split":
            same.update((name, takes[0]) for name in layer.outputs if takes)
        elif takes:
            live.update(layer.outputs)
            found += [Value(name, module_of(layer), takes) for name in layer.outputs]
    return tuple(found)


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Session:
    """Open a session that gives these blobs.

    Raises:
        BundleError: the network cannot be loaded.
    """
    return Session(path, settings, names)


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of ncnn's layers: each is asked for in turn, and only it is left to be computed.

    ncnn's own timer is compiled out of its wheel. Asked so, every blob is kept and no layer works in place, which makes
    the sum larger than a call.

    Raises:
        BundleError: the network cannot be run.
    """
    layers = [layer for layer in network.read(path) if layer.type != "Input"]
    net = open_net(path, settings["options"], settings["threads"])
    spent: defaultdict[int, list[float]] = defaultdict(list)
    for _ in range(WARM + calls):
        totals: defaultdict[int, float] = defaultdict(float)
        for image in range(len(next(iter(feeds.values())))):
            pictures = {name: _planes(value[image], settings) for name, value in feeds.items()}
            for index, ms in enumerate(_times(net, layers, pictures)):
                totals[index] += ms
        for index, ms in totals.items():
            spent[index].append(ms)
    return lines(
        [
            Executed(module_of(layer) or None, layer.type, product_of(layer), tuple(spent[index][WARM:]))
            for index, layer in enumerate(layers)
        ]
    )


def _planes(image: Any, settings: Mapping[str, Any]) -> Any:
    return image.transpose(2, 0, 1) if settings["bytes"] else image


def _times(net: Any, layers: Sequence[Layer], images: Mapping[str, Any]) -> list[float]:
    """Milliseconds of each layer for one image."""
    state = extractor(net, images, keep=True)
    found = []
    for layer in layers:
        started = time.perf_counter()
        status, _blob = state.extract(layer.outputs[0], RAW)
        found.append((time.perf_counter() - started) * 1e3)
        if status:
            raise BundleError(f"expected a network that computes {layer.outputs[0]}, ncnn fails with {status}")
    return found
