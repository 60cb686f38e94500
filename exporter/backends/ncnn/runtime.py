"""ncnn's own objects: networks opened with the options that a manifest has, arrays in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.backends.native_text import native_text
from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

from .network import weights_of

if TYPE_CHECKING:
    from slide_export.core.artifact import Array

EXACT: Mapping[str, bool] = {
    "use_fp16_packed": False,
    "use_fp16_storage": False,
    "use_fp16_arithmetic": False,
    "use_bf16_packed": False,
    "use_bf16_storage": False,
}
"""Options that keep ncnn from rounding weights and activations to 16 bits; those of fp16 are on by default."""
MOST_DIMENSIONS = 4
PASSIVE = 0
"""Milliseconds for which idle threads wait actively. They do for 20 by default, and where other work runs two threads
that wait for each other so were seen to take 0.56 to 4.3 s in the place of 0.15."""
UNKNOWN_LAYER = re.compile(r"layer (\S+) not exists or registered")


def open_net(path: Path, options: Mapping[str, bool], threads: int) -> Any:
    """Load the network at `path` and its weights beside it.

    Args:
        options: booleans of `ncnn.Option` by name, set before anything is read: weights are converted while they are.

    Raises:
        BundleError: ncnn does not take one of the files.
    """
    import ncnn

    weights = weights_of(path)
    for file in (path, weights):
        if not file.is_file():
            raise BundleError(f"expected a network of ncnn in two files, {path.name} and {weights.name}; no {file}")
    net = ncnn.Net()
    net.opt.num_threads, net.opt.openmp_blocktime = threads, PASSIVE
    net.opt.use_vulkan_compute = False
    for name, value in options.items():
        setattr(net.opt, name, value)
    with native_text() as said:
        refused = next((file for file, load in _steps(net, path) if load(str(file))), None)
    if refused:  # a net that did not load crashes the process when it is asked for anything
        raise BundleError(f"expected a network that ncnn {ncnn.__version__} loads: {_why(refused, said())}")
    return net


def _steps(net: Any, path: Path) -> tuple[tuple[Path, Any], ...]:
    """The two files of a network, in the order in which they are loaded, with what loads each: 0 where it did."""
    return (path, net.load_param), (weights_of(path), net.load_model)


def _why(refused: Path, said: str) -> str:
    if unknown := UNKNOWN_LAYER.findall(said):
        return f"{refused.name} has a layer of the type {foreign(unknown[0])}, which it does not have"
    return f"it refuses {refused.name}" + (f" ({foreign(said)})" if said else "")


def extractor(net: Any, images: Mapping[str, Array], *, keep: bool = False) -> Any:
    """One call's state of a network, fed with one image an input.

    Args:
        images: arrays without the batch, [C, H, W], by the name of the input.
        keep: every blob for the whole call, so that each can be asked for without computing others again.

    Raises:
        BundleError: the network has no such input.
    """
    import ncnn

    state = net.create_extractor()
    state.set_light_mode(not keep)
    for name, image in images.items():
        # A Mat of an array is a view that keeps no array alive: it needs a name until the clone has its values.
        kept = np.ascontiguousarray(image, np.float32)
        if state.input(name, ncnn.Mat(kept).clone()):
            raise BundleError(f"expected a network with the input {name}, found {', '.join(net.input_names())}")
    return state


def extract(state: Any, name: str) -> Array:
    """A blob as an array of its own, without a batch axis; of one with several rows of a batch, the first.

    Raises:
        BundleError: there is none of the name, or ncnn fails on the way to it.
    """
    status, blob = state.extract(name)
    if status:
        raise BundleError(f"expected a network that computes {name}, ncnn fails with {status}")
    return np.array(blob, np.float32)  # a copy: the blob's memory is the extractor's


def shapes(net: Any, images: Mapping[str, Array], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of blobs for one image, outermost axis first."""
    state = extractor(net, images, keep=True)
    return {name: extract(state, name).shape for name in names}
