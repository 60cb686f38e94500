"""A Linux machine with Python, over ssh."""

from __future__ import annotations

import logging
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from slide_export.benchmark.process import last
from slide_export.core.errors import DeviceError, SlideExportError
from slide_export.core.progress import Progress, no_progress

from . import device_runner as runner
from . import ssh_errors as trouble
from .address import parse
from .connection import Connection
from .remote_python import RemotePythonDevice

PIP = ("-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir", "--only-binary=:all:", "--retries=1")
VARIABLES = "PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 TMPDIR=$PWD"

log = logging.getLogger(__name__)


class Ssh(RemotePythonDevice):
    """A device that ssh reaches. Use it as a context: what was made there ends with it."""

    def __init__(self, url: str, *, keep: bool = False, step: Progress = no_progress) -> None:
        """Names the device.

        Args:
            url: see `address.FORM`.
            keep: leave what was made there.

        Raises:
            RequestError: it is no such URL.
        """
        self._address = parse(url)
        super().__init__(self._address.url)
        self._keep, self._step = keep, step
        self._connection = Connection(self._address, keep=keep)
        self._python = "python3"
        self._there: dict[Path, PurePosixPath] = {}

    def __enter__(self) -> Ssh:
        with self._step(f"connect to {self.name}"):
            self._connection.__enter__()
        try:
            self._refuse_old()
            self._put_runner()
        except BaseException:
            self._connection.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.__exit__()
        if self._keep:
            log.warning("kept on %s: %s", self.name, self._connection.facts.directory)

    def _refuse_old(self) -> None:
        found, (major, minor) = self._connection.facts.python, runner.OLDEST
        if found is None or found < runner.OLDEST:
            has = "no python3" if found is None else f"{found[0]}.{found[1]}"
            raise DeviceError(f"expected Python {major}.{minor} or later on {self.name}, found {has}: install it there")

    def _put_runner(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            self._connection.copy(runner.write(Path(scratch)), runner.NAME)

    def command(self, role: str, threads: int) -> Sequence[str]:
        """Returns what starts the runner there in a role."""
        variables = f"OMP_NUM_THREADS={threads} {VARIABLES}"
        return self._connection.command(f"{variables} {self._python} {runner.NAME} {role}")

    def explain(self, code: int, said: str) -> SlideExportError | None:
        """Returns what to say of a connection that was lost."""
        return self._connection.lost(code)

    def put(self, path: Path) -> PurePosixPath:
        """Returns where a file or directory lies there, after copying it."""
        path = path.resolve()
        if path not in self._there:
            with self._step(f"copy {path.name} to {self.name}"):
                name = f"{len(self._there)}-{path.name}"
                self._there[path] = PurePosixPath(self._connection.copy(path, name))
        return self._there[path]

    def install(self, wanted: Mapping[str, str]) -> None:
        """Installs distributions into a virtual environment of their own there.

        What the device has itself stays visible in it, such as a Jetson's build of a runtime.

        Raises:
            DeviceError: Python there makes no virtual environment, or pip cannot install them.
        """
        with self._step(f"install {', '.join(wanted)} on {self.name}"):
            self._make_environment()
            exact = [f"{name}=={version}" if version else name for name, version in wanted.items()]
            done = self._pip(exact)
            if "No matching distribution" in done.stderr:
                done = self._pip([*wanted])
            if done.returncode:
                raise trouble.installing(self.name, self._connection.facts.directory, wanted, done.stderr)
            self._note_others(wanted)

    def _make_environment(self) -> None:
        if self._python != "python3":
            return
        done = self._connection.run(f"{VARIABLES} python3 -m venv --system-site-packages environment")
        if done.returncode:
            said = done.stdout + done.stderr
            if trouble.FULL.search(said):
                raise trouble.full(self.name, self._connection.facts.directory)
            known = "ensurepip is not" in said or "No module named" in said
            reason = "no venv module" if known else last(said.splitlines())
            raise DeviceError(
                f"expected Python on {self.name} to make a virtual environment, found {reason}: install it there, as "
                "Debian's python3-venv, or the runtime itself"
            )
        self._python = "environment/bin/python"

    def _pip(self, wanted: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._connection.run(f"{VARIABLES} {self._python} {shlex.join((*PIP, *wanted))}")

    def _note_others(self, wanted: Mapping[str, str]) -> None:
        """Notes each version that is not the one asked for."""
        ask = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
        found = self._connection.run(f"{self._python} -c {shlex.quote(ask)} {shlex.join(wanted)}").stdout.split()
        self.notes += tuple(
            f"{name} {here} runs there, the bundle was made with {version}, which is not to be had for that machine"
            for (name, version), here in zip(wanted.items(), found, strict=True)
            if version and here != version
        )
