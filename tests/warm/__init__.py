"""Python processes that start from one which has imported what most of them need: torch alone takes seconds each time.

`command("-m", "slide_export", ...)` is a command line like any other, with pipes, signals and an exit code of its own.
It starts a small program (`client`), which asks a server (`server`) for a fork of itself and stands in for that fork:

    Popen(command(...))  ──>  client  ── argv, environment, directory, streams ──>  server  ── fork ──>  work
                         <──  ends as the fork does  <── exit status ────────────────────────────────────┘

The server imports and computes nothing else, as the product's own `workflows.child` does. What an import itself does is
not tested so: a test of that, or of what differs from process to process, starts Python itself.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slide_export.benchmark import process
from slide_export.verification import apart
from slide_export.workflows import child

from .client import SOCKET

HERE = Path(__file__).parent
STARTED = (apart, process, child)
"""Modules whose COMMAND starts Python."""

_servers: dict[str, "subprocess.Popen[bytes]"] = {}  # by their sockets


class Command(tuple[str, ...]):
    """A command line; the server is started when it is first asked for its words."""

    def __iter__(self) -> Iterator[str]:
        """The words."""
        socket = os.environ.get(SOCKET, "")
        if socket and socket not in _servers:
            line = [sys.executable, "-m", "tests.warm.server", socket]
            _servers[socket] = subprocess.Popen(line, cwd=HERE.parents[1], stdin=subprocess.DEVNULL)
        return super().__iter__()


def command(*arguments: str | Path) -> Command:
    """A command line that runs Python with these arguments in a fork of the server.

    Args:
        arguments: `-m MODULE ...`, `-c PROGRAM ...` or `FILE ...`.
    """
    return Command(words(*arguments))


def words(*arguments: str | Path) -> tuple[str, ...]:
    """The same where the server runs already."""
    return (sys.executable, "-I", "-S", str(HERE / "client.py"), *map(str, arguments))


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start the processes of slide_export from a server of this session, which ends with it."""
    socket = str(tmp_path_factory.mktemp("warm") / "socket")
    with pytest.MonkeyPatch.context() as patch:
        for module in STARTED:
            patch.setattr(module, "COMMAND", command(*module.COMMAND[1:]))
        patch.setenv(SOCKET, socket)
        yield
    if socket in _servers:
        server = _servers.pop(socket)
        server.terminate()
        server.wait()
