"""Which of the two packages is installed, its module, its one logger, and what its messages say."""

import functools
import importlib
import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any

from slide_export.core.errors import BackendUnavailable

FLAVORS: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "rtx": ("tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx"),
}
"""The pip distributions of each flavor, any one of which brings its module."""
MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT RTX"}
DISTRIBUTIONS = tuple(distribution for flavor in FLAVORS.values() for distribution in flavor)
"""Any one of them will do; the flavor that `choose` takes where both are installed comes first."""


def installed(flavor: str) -> str | None:
    """The distribution that is installed for a flavor, from package metadata alone."""
    for distribution in FLAVORS[flavor]:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return distribution
    return None


def choose(asked: str) -> str:
    """The flavor to use: the one asked for, else the one installed, `tensorrt` where both are.

    Raises:
        BackendUnavailable: it is not installed.
    """
    found = [flavor for flavor in FLAVORS if installed(flavor) and asked in ("auto", flavor)]
    if not found:
        wanted = FLAVORS["rtx" if asked == "auto" else asked][0]
        raise BackendUnavailable(f"expected {wanted} to build an engine, found it not installed: pip install {wanted}")
    return found[0]


@functools.cache
def load(flavor: str) -> tuple[Any, Any]:
    """The vendor's module and the one logger of this process.

    TensorRT keeps the logger that it got first and ignores later ones ("The logger passed into createInferBuilder
    differs from one already registered"), so there is one for good.
    """
    try:
        trt: Any = importlib.import_module(MODULES[flavor])
    except (ImportError, OSError) as error:  # OSError: a library of it is missing
        raise BackendUnavailable(f"expected {MODULES[flavor]} to import, it failed: {error}") from error

    class Messages(trt.ILogger):  # type: ignore[misc]  # trt is Any
        """What TensorRT says, by severity."""

        def __init__(self) -> None:
            super().__init__()
            self.clear()

        def clear(self) -> None:
            """Forget the messages of the last build."""
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.sizes: dict[str, int] = {}

        def log(self, severity: Any, message: str) -> None:
            """Collect errors, warnings and sizes; drop the rest."""
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)
            elif found := re.fullmatch(r"Total (Activation|Weights) Memory: (\d+) bytes", message):
                self.sizes[f"{found[1].lower()}_bytes"] = int(found[2])

    return trt, Messages()


def sentence(message: str) -> str:
    """A TensorRT message without its call sites."""
    lines = [line for line in message.splitlines() if line.strip() and "catchCudaError" not in line]
    text = re.sub(r"^\S+: Error Code \d+: ", "", lines[-1] if lines else "no reason given")
    return re.sub(r"\.? In \w+ at /\S+?:\d+", "", text).strip().rstrip(".")
