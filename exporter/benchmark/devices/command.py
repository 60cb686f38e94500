"""This machine, by another Python: an emulated one, or one of another environment, that a command starts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import device_runner as runner
from .remote_python import RemotePythonDevice


class Command(RemotePythonDevice):
    """A Python that reads this machine's files and has the runtimes already. Use it as a context."""

    def __init__(self, name: str, python: Sequence[str]) -> None:
        """Names it.

        Args:
            python: the words that start it, such as ("qemu-aarch64-static", "python3").
        """
        super().__init__(name)
        self._python = tuple(python)

    def __enter__(self) -> Command:
        self._scratch = tempfile.TemporaryDirectory(prefix="slide-export-")
        self._runner = runner.write(Path(self._scratch.name))
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def command(self, role: str, threads: int) -> Sequence[str]:
        """Returns what starts the runner in a role."""
        return (*self._python, str(self._runner), role)

    def put(self, path: Path) -> Path:
        """Returns the path, which that Python sees too."""
        return path.resolve()
