"""A loaded package."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError

from .package import as_fed, batch_sizes, pieces, read_package


def substitute_runtime() -> str | None:
    """Name of the evaluator used where CoreML is not and why its timing does not count, None on macOS."""
    if sys.platform == "darwin":
        return None
    return "slide-export's own evaluator in CoreML's place, on this CPU: its time says nothing of an Apple device"


class Session:
    """A package under CoreML on macOS, which this was never run on, and under our evaluator elsewhere."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        from slide_export.mil import MilError
        from slide_export.mil.engine import start

        package = read_package(path)
        self._inputs = package.inputs
        self._outputs = [output.name for output in package.outputs if output.kind != "scalar"]  # a label is one
        self._dtypes = ("uint8", "float32") if settings["bytes"] else ("float32",)
        try:
            self._engine = start(package, settings["mode"], settings["compute_units"], settings["labels"])
        except MilError as error:
            raise BundleError(f"expected a package that runs here: {error}") from error
        self.evaluator = self._engine.name

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name, float32, for any number of images.

        Images go through in the batch sizes that the package permits; pictures go one by one.

        Raises:
            RequestError: the feeds are not the inputs, or the permitted batch sizes do not add up to theirs.
            BundleError: the package cannot be run.
        """
        found = {name: str(value.dtype) for name, value in feeds.items()}
        names = [entry.name for entry in self._inputs]
        if set(found) != set(names) or not set(found.values()).issubset(self._dtypes):
            raise RequestError(f"expected the input {', '.join(names)} of {' or '.join(self._dtypes)}, found {found}")
        count = len(feeds[names[0]])
        parts = [
            self._run({name: value[start:end] for name, value in feeds.items()})
            for start, end in pieces(count, batch_sizes(self._inputs[0]))
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _run(self, feeds: Feeds) -> Outputs:
        """The outputs for a permitted batch, [B, ...] each."""
        from slide_export.mil import MilError

        try:
            results = self._engine.run({entry.name: as_fed(entry, feeds[entry.name]) for entry in self._inputs})
        except MilError as error:
            raise BundleError(f"expected a package that takes what it declares: {error}") from error
        arrays = {name: np.asarray(results[name], np.float32) for name in self._outputs}
        return {name: value[None] if value.ndim == 1 else value for name, value in arrays.items()}  # a classifier's
