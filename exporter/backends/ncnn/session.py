"""A loaded network: images go through one by one, for ncnn has no batch axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.errors import RequestError

from . import network
from .runtime import extract, extractor, open_net

if TYPE_CHECKING:
    from slide_export.core.artifact import Array, Feeds, Outputs


class Session:
    """A network under ncnn, on this machine's processor."""

    def __init__(self, path: Path, settings: Mapping[str, Any], names: Sequence[str] = ()) -> None:
        """Load the network at `path`.

        Args:
            names: blobs to give in the place of the outputs.

        Raises:
            BundleError: ncnn does not load it.
        """
        import ncnn

        network.read(path)  # ncnn itself tells little of what is no network
        self._net = open_net(path, settings["options"], settings["threads"])
        self._inputs, self._outputs = tuple(self._net.input_names()), tuple(names or self._net.output_names())
        self._keep, self._bytes = bool(names), settings["bytes"]
        self.evaluator = f"ncnn {ncnn.__version__}"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name, float32, for any number of images.

        Raises:
            RequestError: the feeds are not the inputs.
            BundleError: the network cannot be run.
        """
        expected = "uint8" if self._bytes else "float32"
        found = {name: str(value.dtype) for name, value in feeds.items()}
        if found != dict.fromkeys(self._inputs, expected):
            raise RequestError(f"expected the input {', '.join(self._inputs)} of {expected}, found {found}")
        count = len(next(iter(feeds.values())))
        rows = [self._run({name: self._fed(value[index]) for name, value in feeds.items()}) for index in range(count)]
        return {name: np.stack([row[name] for row in rows]) for name in self._outputs}

    def _fed(self, image: Array) -> Array:
        """One image as the network takes it, [3, H, W]; a picture is [H, W, 3] of 0..255, as ncnn reads pixels."""
        return image.transpose(2, 0, 1) if self._bytes else image

    def _run(self, images: Mapping[str, Array]) -> Outputs:
        state = extractor(self._net, images, keep=self._keep)
        return {name: extract(state, name) for name in self._outputs}
