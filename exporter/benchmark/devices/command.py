"""Another Python on this machine, started by a command: an emulated one, or one of another environment."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import device_runner
from .remote_python import RemotePythonDevice


class CommandDevice(RemotePythonDevice):
    """Python that reads this machine's files and has the runtimes already; a context."""

    def __init__(self, name: str, python: Sequence[str]) -> None:
        """Name the device; entering the context writes the runner.

        Args:
            name: in results and messages.
            python: program and arguments, such as ("qemu-aarch64-static", "python3").
        """
        super().__init__(name)
        self._python = tuple(python)

    def __enter__(self) -> CommandDevice:
        self._scratch = tempfile.TemporaryDirectory(prefix="slide-export-")
        self._runner = device_runner.write(Path(self._scratch.name))
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def command(self, role: str, threads: int) -> Sequence[str]:
        """Command that starts the runner in a role."""
        return (*self._python, str(self._runner), role)

    def put(self, path: Path) -> Path:
        """The path itself: that Python sees the same files."""
        return path.resolve()
