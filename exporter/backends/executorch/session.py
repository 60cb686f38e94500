"""A loaded program."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.backends.native_text import native_text
from slide_export.core.artifact import Array, Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError, option

from .vendor import quiet


class Session:
    """A program under ExecuTorch's own runtime."""

    def __init__(self, path: Path, settings: Mapping[str, Any], content: bytes | None = None) -> None:
        """Load a program.

        Args:
            content: to load in the place of the file's.
        """
        with quiet():
            from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
            from executorch.runtime import Runtime

        try:
            with native_text():  # it remarks on the number of processors; what is wrong with a file, it raises as well
                if "threads" in settings:
                    _unsafe_reset_threadpool(int(settings["threads"]))  # one pool a process; no program runs now
                program = Runtime.get().load_program(path if content is None else content)
                self._method = program.load_method("forward")
        except (RuntimeError, KeyError, OSError) as error:
            raise BundleError(f"expected an ExecuTorch program, {path.name} is none that runs here: {error}") from error
        self._program, self._content, self._settings = program, content, settings  # of what the method is a part
        self.evaluator = f"ExecuTorch {importlib.metadata.version('executorch')} with XNNPACK on CPU"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            RequestError: the feeds are not the inputs, or a number of images that one call does not take.
            BundleError: the program does not run.
        """
        import torch

        names, outputs = self._settings["inputs"], self._settings["outputs"]
        if set(feeds) != set(names):
            raise RequestError(f"expected the input {', '.join(names)}, found {', '.join(feeds) or 'none'}")
        self._refuse_count(len(feeds[names[0]]))
        try:
            with torch.inference_mode():
                fed = [torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in names]
                found = self._method.execute(fed)
        except RuntimeError as error:
            raise BundleError(f"expected a program that takes what it declares: {error}") from error
        return {name: _array(value) for name, value in zip(outputs, found, strict=True)}

    def _refuse_count(self, count: int) -> None:
        """Refuse a batch that memory was not planned for.

        Raises:
            RequestError: says what it takes.
        """
        largest = self._settings["largest"]
        if self._settings["fixed"] and count != largest:
            raise RequestError(f"expected a batch of {largest}, found {count}: export another ({option('batch')})")
        if count > largest:
            raise RequestError(
                f"expected at most {largest} images in one call, found {count}: cut them, or export with the option "
                f"max_batch={count}"
            )


def _array(value: Any) -> Array:
    """An output as an array of its own: the runtime overwrites its memory in the next call."""
    array: Array = value.numpy().copy()
    return array
