"""What computes a saved package: CoreML where it is, our evaluator elsewhere."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from . import vendor
from .errors import MilError
from .evaluator import Evaluator, Mode
from .features import Array
from .package import Package


class Engine(Protocol):
    """Compute one batch of a shape that the package permits."""

    name: str
    """Says who speaks, as a report says it."""

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        """Outputs by feature name for the inputs by name.

        Args:
            feeds: arrays of the inputs' shapes and types, or one picture each, uint8 (H, W, 3) in RGB.

        Raises:
            MilError: the package cannot be run, or not with these images.
        """


def start(package: Package, mode: Mode, units: str, labels: Sequence[str]) -> Engine:
    """The engine of this machine, with the package loaded.

    Args:
        package: what to run.
        mode: of the evaluator.
        units: name of a `coremltools.ComputeUnit`, `ALL` for instance; for CoreML.
        labels: of a classifier, in the order of its probabilities; for CoreML, which answers with a dictionary.

    Raises:
        MilError: the package cannot be loaded or evaluated.
    """
    if sys.platform == "darwin":
        return Predicted(package.path, units, labels)
    return Evaluated(package, mode)


class Evaluated:
    """Our evaluator."""

    def __init__(self, package: Package, mode: Mode) -> None:
        self.name = f"evaluated on {platform.system()} ({mode})"
        self._evaluator = Evaluator(package, mode)

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        """Outputs by feature name for the inputs by name."""
        return self._evaluator.run(feeds)


class Predicted:
    """CoreML through coremltools; written from its documentation and run against a stand-in, for want of a Mac.

    Raises:
        MilError: CoreML cannot load the package.
    """

    def __init__(self, path: Path, units: str, labels: Sequence[str]) -> None:
        vendor.prepare()
        import coremltools as ct

        self.name = f"predicted on macOS ({units})"
        self._labels = labels
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # "You will not be able to run predict()"
                self._model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[units])
        except Exception as error:  # CoreML's errors have no class of their own
            raise MilError(f"CoreML cannot load {path}: {error}") from error

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        """Outputs by feature name for the inputs by name; a dictionary of probabilities comes as a list."""
        from PIL import Image

        fed = {name: Image.fromarray(images) if images.ndim == 3 else images for name, images in feeds.items()}
        try:
            results = self._model.predict(fed)
        except Exception as error:
            raise MilError(f"CoreML cannot run the package: {error}") from error
        return {key: self._ordered(value) if isinstance(value, dict) else value for key, value in results.items()}

    def _ordered(self, probabilities: Mapping[str, float]) -> list[float]:
        return [probabilities[label] for label in self._labels]
