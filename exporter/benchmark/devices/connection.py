"""One ssh connection to a device, with a private directory there that lives as long as the connection does.

The first process, the remote shell, makes the directory and waits for the end of its input. That end comes when this
side closes it, and when this side or the connection dies: then the device itself removes the directory. Every other
process is multiplexed over the remote shell's connection and never opens one of its own.
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

from slide_export.benchmark.process import last_line
from slide_export.core.errors import BackendUnavailable, DeviceError

from . import ssh_errors
from .address import Address

# Environment variable with more options for ssh and scp, such as "-F FILE" or "-i KEY".
EXTRA_OPTIONS = "SLIDE_EXPORT_SSH"
SSH_FAILED = 255  # exit code of ssh itself (Source: OpenSSH, man 1 ssh, EXIT STATUS)
SETTLE_TIMEOUT_S = 3.0  # from the death of one process of a connection to that of the others
CLOSE_TIMEOUT_S = 60.0
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
DISK_PROBE = "{ touch probe && dd if=/dev/zero of=probe bs=64k count=1; } 2>&1; rm -f probe"
REMOTE_SHELL = "; ".join(
    (
        "umask 077",
        'trap "" HUP INT TERM',
        'dir=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/slide-export-XXXXXXXX" 2>&1) || { echo "refused $dir"; exit 1; }',
        'echo "directory $dir"',
        'echo "python $(python3 -c "import sys; print(*sys.version_info[:2])" 2>/dev/null)"',
        'echo "free $(df -Pk "$dir" | tail -n 1)"',
        'echo "rsync $(command -v rsync)"',
        "echo ready",
        "cat >/dev/null",
        '[ "$2" = keep ] && exit 0',
        # A process that still runs there, such as pip, would make the directory again: it is found by where it runs.
        # Looked for until none is found, for what is started while the list is read is not in it.
        "found=yes tries=0",
        'while [ "$found" ] && [ $tries -lt 60 ]; do found=; tries=$((tries+1)); for one in /proc/[0-9]*; do '
        'case "$(readlink "$one/cwd")" in "$dir"*) found=yes; kill -9 "${one#/proc/}";; esac; done 2>/dev/null; '
        'rm -rf "$dir" 2>/dev/null || { found=yes; sleep 1; }; done',
    )
)


@dataclass(frozen=True)
class Facts:
    """Facts about the device, found by the remote shell.

    Attributes:
        directory: ours, absolute.
        python: version of `python3`, None without one.
        free_kib: free on its disk; None where unknown.
        rsync: whether it is installed.
    """

    directory: str
    python: tuple[int, int] | None
    free_kib: int | None
    rsync: bool


class Connection:
    """Connection to a device; a context, which ends both the connection and the directory."""

    facts: Facts

    def __init__(self, address: Address, *, keep: bool = False) -> None:
        """Name the device; entering the context connects.

        Args:
            keep: leave the directory there.
        """
        self._address, self._keep = address, keep
        self._extra = shlex.split(os.environ.get(EXTRA_OPTIONS, ""))
        self._socket = "none"

    def __enter__(self) -> Connection:
        self._scratch = tempfile.TemporaryDirectory(prefix="slide-export-")  # private, mode 700
        self._socket = f"{self._scratch.name}/socket"
        self._stderr: IO[str] = tempfile.TemporaryFile("w+", errors="replace")
        kept = "keep" if self._keep else "remove"
        remote_shell = shlex.join(("exec", "sh", "-c", REMOTE_SHELL, "slide-export", self._address.directory, kept))
        try:
            self._shell = subprocess.Popen(
                [*self.ssh("-o", "ControlMaster=yes"), "--", self._address.login, remote_shell],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
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
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe:
                pipe.close()
        try:
            self._shell.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()
        self._clear()

    def _clear(self) -> None:
        self._stderr.close()
        self._scratch.cleanup()

    def _read_facts(self) -> Facts:
        facts: dict[str, str] = {}
        for line in self._shell.stdout or ():  # what the device's shell prints at each start comes before ours
            word, _, rest = line.strip().partition(" ")
            facts[word] = rest
            if word == "ready":
                return _facts(facts)
            if word == "refused":
                raise DeviceError(
                    f"expected to make a directory on {self._address.url}, the device says: {rest}; name another one, "
                    "ssh://host/directory"
                )
        self._shell.wait()
        raise ssh_errors.connecting(self._address.url, self.stderr())

    def stderr(self) -> str:
        """Everything that ssh has written to standard error."""
        self._stderr.seek(0)
        return self._stderr.read()

    def ssh(self, *more: str) -> list[str]:
        """Start of an ssh command line, without the host; `more` are further options."""
        port = ("-p", str(self._address.port)) if self._address.port else ()
        return ["ssh", "-T", *port, *self._options(), *more]

    def _options(self) -> list[str]:
        options = (*OPTIONS, f"ControlPath={self._socket}")
        return [*self._extra, *(word for option in options for word in ("-o", option))]

    def _through(self) -> list[str]:
        """Options to use the remote shell's connection, or fail: the proxy command of a new connection is `false`."""
        return ["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]

    def command(self, line: str) -> list[str]:
        """Command here that runs a line of shell in the directory on the device."""
        # `exit $?` shows a child that signal N ended as 128 + N: ssh gives 255 for a shell that a signal ended.
        there = f"cd {shlex.quote(self.facts.directory)} && {line}; exit $?"
        return [*self.ssh(*self._through()), "--", self._address.login, shlex.join(("exec", "sh", "-c", there))]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell on the device.

        Raises:
            DeviceError: the connection was lost.
        """
        done = subprocess.run(
            self.command(line), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
        self.refuse_lost(done.returncode)
        return done

    def lost(self, code: int) -> DeviceError | None:
        """Error for a process that ended because the connection did, None for another end.

        Args:
            code: exit code of the process.
        """
        if code != SSH_FAILED:
            return None
        try:
            self._shell.wait(SETTLE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None  # it stands: ssh gives 255 too for a process that a signal ended
        return ssh_errors.dropped(self._address.url, self.stderr(), self.facts.directory, kept=self._keep)

    def refuse_lost(self, code: int) -> None:
        """Raise the error of `lost`, if there is one."""
        if reason := self.lost(code):
            raise reason

    def copy(self, path: Path, name: str) -> str:
        """Copy a file or directory to the device under a name; give its path there.

        Raises:
            DeviceError: the device is full, or the connection was lost.
        """
        self._refuse_full(path)
        done = subprocess.run(
            self._copy_command(path, name), capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            self.refuse_lost(SSH_FAILED if self._shell.poll() is not None else done.returncode)
            # An sftp server calls every failure "Failure": one more write shows whether the disk is full.
            if ssh_errors.DISK_FULL.search(done.stderr + self.run(DISK_PROBE).stdout):
                raise ssh_errors.full(self._address.url, self.facts.directory)
            raise DeviceError(
                f"expected to copy {path.name} to {self._address.url}, {Path(done.args[0]).name} says: "
                f"{last_line(done.stderr.splitlines()) or 'nothing'}"
            )
        return f"{self.facts.directory}/{name}"

    def _copy_command(self, path: Path, name: str) -> list[str]:
        """Command of rsync or, where one side lacks it, of scp."""
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
            raise ssh_errors.full(self._address.url, self.facts.directory, needed_kib / 1024)


def _installed(program: str) -> bool:
    return shutil.which(program) is not None


def _facts(lines: dict[str, str]) -> Facts:
    python = re.fullmatch(r"(\d+) (\d+)", lines.get("python", ""))
    free = re.search(r"(\d+) +\d+%", lines.get("free", ""))
    return Facts(
        directory=lines["directory"],
        python=(int(python[1]), int(python[2])) if python else None,
        free_kib=int(free[1]) if free else None,
        rsync=bool(lines.get("rsync")),
    )
