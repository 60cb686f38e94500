"""A loaded asset: Core AI's interpreter, which is asynchronous, behind a plain call."""

from __future__ import annotations

import asyncio
import atexit
import importlib.metadata
import tempfile
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from slide_export.backends.native_text import native_text
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError, option
from slide_export.core.text import foreign

from .asset import SUFFIX, read_asset
from .vendor import save_widened

T = TypeVar("T")
SETTLE_S = 0.5
"""What an end of the process waits for: a process that ended at once after an answer was aborted 5 times of 8, one that
waited 0.02 s never (coreai-core 1.0.0b3, Linux): the runtime's threads come back to Python a moment after it."""
FUNCTION = "main"
NOT_PROVED = (
    ", on the artifact's own program widened to float32; float16 is NOT proved here: the artifact has not run, since "
    "that interpreter takes minutes for an image in float16"
)
"""What a float16 asset's proof has to say of itself."""


def substitute_runtime() -> str | None:
    """Name of what runs in the place of a device, and why its time does not count."""
    return "the interpreter of Core AI's Linux package, in a device's place: its time says nothing of an Apple device"


class Session:
    """An asset under the runtime that comes with coreai-core: on Linux an interpreter."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        half = "float16" in read_asset(path).products
        self._settings = settings
        _settle_at_exit()
        try:
            self._function = _opened_wide(path) if half else _apart(_opened(path))
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise BundleError(
                f"expected an asset that Core AI runs, {path.name} is none: {foreign(error, 300)}"
            ) from error
        self.evaluator = f"Core AI {importlib.metadata.version('coreai-core')}, the interpreter of its Linux package"
        self.evaluator += NOT_PROVED if half else ""

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            RequestError: the feeds are not the inputs, or not the batch of a fixed one.
            BundleError: the program does not run.
        """
        names, batch = self._settings["inputs"], self._settings["batch"]
        if set(feeds) != set(names):
            raise RequestError(f"expected the input {', '.join(names)}, found {', '.join(feeds) or 'none'}")
        count = len(feeds[names[0]])
        if batch is not None and count != batch:
            raise RequestError(f"expected a batch of {batch}, found {count}: export another ({option('batch')})")
        try:
            found = _apart(_called(self._function, feeds))
        except RuntimeError as error:
            raise BundleError(
                f"expected an asset that takes what it declares, Core AI says: {foreign(error, 300)}"
            ) from error
        return {name: found[name] for name in self._settings["outputs"]}


@cache
def _settle_at_exit() -> None:
    """Wait before the interpreter is taken down, once a process; see `SETTLE_S`."""
    atexit.register(time.sleep, SETTLE_S)


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Wait for asynchronous work in a thread of its own: who asks may be in a loop already, as every notebook is."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _opened_wide(path: Path) -> Any:
    """The function of a float16 asset in float32; see `wide`."""
    with tempfile.TemporaryDirectory() as directory:
        wide = Path(directory) / f"wide{SUFFIX}"
        save_widened(path, wide)
        return _apart(_opened(wide))


async def _opened(path: Path) -> Any:
    """The function of an asset; what was compiled for it on disk is not needed any more once it is loaded."""
    from coreai.authoring import AIModelAsset

    async with AIModelAsset.load(path).executable() as model:
        with native_text():  # it prints "Loading function 'main'"
            return model.load_function(FUNCTION)


async def _called(function: Any, feeds: Feeds) -> Outputs:
    from coreai.runtime import NDArray

    found = await function({name: NDArray(np.ascontiguousarray(value)) for name, value in feeds.items()})
    return {name: value.numpy().copy() for name, value in found.items()}  # of memory that is the runtime's
