"""One ssh connection to a device, with a private directory there that lives as long as the connection does.

The first process, the keeper, makes the directory and waits for the end of its input. That end comes when this side
closes it, and when this side or the connection dies: then the device itself removes the directory. Everything else goes
through the keeper's connection, never through one of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from slide_export.benchmark.process import last
from slide_export.core.errors import BackendUnavailable, DeviceError

from . import ssh_errors as trouble
from .address import Address

EXTRA = "SLIDE_EXPORT_SSH"  # an environment variable: more options for ssh and scp, such as "-F FILE" or "-i KEY"
LOST = 255  # ssh's own exit code (Source: OpenSSH, man 1 ssh, EXIT STATUS)
SETTLE_S = 3.0  # from the death of one process of a connection to that of the others
CLOSING_S = 60.0
OPTIONS = (
    "BatchMode=yes",  # never a question
    "ConnectTimeout=20",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ControlPersist=no",
    "ClearAllForwardings=yes",  # a port that the user's configuration forwards may be taken
    "RemoteCommand=none",
    "RequestTTY=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "LogLevel=ERROR",
)
PROBE = "{ touch probe && dd if=/dev/zero of=probe bs=64k count=1; } 2>&1; rm -f probe"
KEEPER = "; ".join(
    (
        "umask 077",
        'trap "" HUP INT TERM',
        'made=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/slide-export-XXXXXXXX" 2>&1) || { echo "refused $made"; exit 1; }',
        'echo "directory $made"',
        'echo "python $(python3 -c "import sys; print(*sys.version_info[:2])" 2>/dev/null)"',
        'echo "free $(df -Pk "$made" | tail -n 1)"',
        'echo "rsync $(command -v rsync)"',
        "echo ready",
        "cat >/dev/null",
        '[ "$2" = keep ] && exit 0',
        # What still runs there, such as pip, would go on and make the directory anew: it is known by where it runs.
        'for one in /proc/[0-9]*; do case "$(readlink "$one/cwd")" in "$made"*) kill -9 "${one#/proc/}";; esac; done '
        "2>/dev/null",
        "tries=0",
        'while [ -e "$made" ] && [ $tries -lt 60 ]; do rm -rf "$made" 2>/dev/null || sleep 1; tries=$((tries+1)); done',
    )
)


@dataclass(frozen=True)
class Facts:
    """What the keeper found.

    Attributes:
        directory: ours, absolute.
        python: version of `python3`, None without one.
        free_kib: on its disk; None where it does not tell.
        rsync: whether the device has it.
    """

    directory: str
    python: tuple[int, int] | None
    free_kib: int | None
    rsync: bool


class Connection:
    """A connection to a device. Use it as a context: directory and connection end with it."""

    facts: Facts

    def __init__(self, address: Address, *, keep: bool = False) -> None:
        """Names the device.

        Args:
            keep: leave the directory there.
        """
        self._address, self._keep = address, keep
        self._extra = shlex.split(os.environ.get(EXTRA, ""))
        self._socket = "none"

    def __enter__(self) -> Connection:
        self._scratch = tempfile.TemporaryDirectory(prefix="slide-export-")  # private, mode 700
        self._socket = f"{self._scratch.name}/socket"
        self._said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")
        kept = "keep" if self._keep else "remove"
        keeper = shlex.join(("exec", "sh", "-c", KEEPER, "keeper", self._address.directory, kept))
        try:
            self._keeper = subprocess.Popen(
                [*self.ssh("-o", "ControlMaster=yes"), "--", self._address.login, keeper],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for this side, which then ends in order
            )
        except FileNotFoundError:
            self._clear()
            raise BackendUnavailable("expected ssh on this machine, found none: install OpenSSH's client") from None
        try:
            self.facts = self._read_facts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe:
                pipe.close()
        try:
            self._keeper.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        self._clear()

    def _clear(self) -> None:
        self._said.close()
        self._scratch.cleanup()

    def _read_facts(self) -> Facts:
        found: dict[str, str] = {}
        for line in self._keeper.stdout or ():  # what the device's shell prints at each start comes before ours
            word, _, rest = line.strip().partition(" ")
            found[word] = rest
            if word == "ready":
                return _facts(found)
            if word == "refused":
                raise DeviceError(
                    f"expected to make a directory on {self._address.url}, the device says: {rest}; name another one, "
                    "ssh://host/directory"
                )
        self._keeper.wait()
        raise trouble.connecting(self._address.url, self.words())

    def words(self) -> str:
        """Returns what ssh has written to standard error."""
        self._said.seek(0)
        return self._said.read()

    def ssh(self, *more: str) -> list[str]:
        """Returns the words that start ssh, without the host; the keeper's own make the connection."""
        port = ("-p", str(self._address.port)) if self._address.port else ()
        return ["ssh", "-T", *port, *self._options(), *more]

    def _options(self) -> list[str]:
        options = (*OPTIONS, f"ControlPath={self._socket}")
        return [*self._extra, *(word for option in options for word in ("-o", option))]

    def _through(self) -> list[str]:
        """Returns options that take the keeper's connection, or fail."""
        return ["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]

    def command(self, line: str) -> list[str]:
        """Returns what runs a command in the directory on the device."""
        there = f"cd {shlex.quote(self.facts.directory)} && {line}; exit $?"  # of a child that a signal ended, too
        return [*self.ssh(*self._through()), "--", self._address.login, shlex.join(("exec", "sh", "-c", there))]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Returns how a command ended on the device.

        Raises:
            DeviceError: the connection was lost.
        """
        done = subprocess.run(
            self.command(line), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
        self.refuse_lost(done.returncode)
        return done

    def lost(self, code: int) -> DeviceError | None:
        """Returns what to say where a process of this connection ended because the connection did.

        Args:
            code: the exit code of that process.
        """
        if code != LOST:
            return None
        try:
            self._keeper.wait(SETTLE_S)
        except subprocess.TimeoutExpired:
            return None  # it stands: ssh says 255 too of what a signal ended
        return trouble.dropped(self._address.url, self.words(), self.facts.directory, kept=self._keep)

    def refuse_lost(self, code: int) -> None:
        """Raises what `lost` returns."""
        if reason := self.lost(code):
            raise reason

    def copy(self, path: Path, name: str) -> str:
        """Returns where a file or directory lies on the device, after copying it under a name of its own.

        Raises:
            DeviceError: the device is full, or the connection was lost.
        """
        self._refuse_full(path)
        done = subprocess.run(self._copying(path, name), capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            self.refuse_lost(LOST if self._keeper.poll() is not None else done.returncode)
            # An sftp server calls every failure "Failure": one more write tells.
            if trouble.FULL.search(done.stderr + self.run(PROBE).stdout):
                raise trouble.full(self._address.url, self.facts.directory)
            raise DeviceError(
                f"expected to copy {path.name} to {self._address.url}, {Path(done.args[0]).name} says: "
                f"{last(done.stderr.splitlines()) or 'nothing'}"
            )
        return f"{self.facts.directory}/{name}"

    def _copying(self, path: Path, name: str) -> list[str]:
        """Returns the command of rsync or, where one side lacks it, of scp."""
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        user = f"{self._address.user}@" if self._address.user else ""
        target = f"{user}{host}:{self.facts.directory}/{name}"
        if self.facts.rsync and _installed("rsync"):
            source = f"{path}/" if path.is_dir() else str(path)
            return ["rsync", "-rL", "-e", shlex.join(self.ssh(*self._through())), "--", source, target]
        port = ("-P", str(self._address.port)) if self._address.port else ()
        return ["scp", "-qr", *port, *self._options(), *self._through(), "--", str(path), target]

    def _refuse_full(self, path: Path) -> None:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        needed_kib = sum(file.stat().st_size for file in files) / 1024
        if self.facts.free_kib is not None and needed_kib > self.facts.free_kib:
            raise trouble.full(self._address.url, self.facts.directory, needed_kib / 1024)


def _installed(program: str) -> bool:
    return shutil.which(program) is not None


def _facts(said: dict[str, str]) -> Facts:
    python = re.fullmatch(r"(\d+) (\d+)", said.get("python", ""))
    free = re.search(r"(\d+) +\d+%", said.get("free", ""))
    return Facts(
        directory=said["directory"],
        python=(int(python[1]), int(python[2])) if python else None,
        free_kib=int(free[1]) if free else None,
        rsync=bool(said.get("rsync")),
    )
