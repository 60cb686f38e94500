"""A device on loopback: a real sshd with keys, configuration and a directory for temporary files of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

VENV = Path(sys.executable).parent
STANDARD = "/usr/local/bin:/usr/bin:/bin"
CLIENT = """Host *
    IdentityFile {root}/client
    IdentitiesOnly yes
    UserKnownHostsFile {root}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


class Device:
    """An sshd that this process started."""

    def __init__(self, root: Path, path: str = f"{VENV}:{STANDARD}", **variables: str) -> None:
        """Starts it.

        Args:
            root: an empty directory.
            path: where the device finds programs; this environment's Python comes first.
            variables: of the device's environment.
        """
        self.root, self.temporary, self.port = root, root / "tmp", _free_port()
        self.temporary.mkdir()
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / name], check=True)
        shutil.copy(root / "client.pub", root / "authorized_keys")
        self.trust(root / "host.pub")
        (root / "client_config").write_text(CLIENT.format(root=root))
        pairs = {"PATH": path, "TMPDIR": str(self.temporary), **variables}
        words = shlex.join(f"{name}={value}" for name, value in pairs.items())
        # Not sshd's SetEnv: what the user's shell reads at its start comes after it.
        (root / "enter").write_text(f'exec env {words} /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        (root / "sshd_config").write_text(self._configuration())
        self._start()

    def _configuration(self) -> str:
        return (
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.root}/host\n"
            f"AuthorizedKeysFile {self.root}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nPermitRootLogin yes\nForceCommand /bin/sh {self.root}/enter\n"
            "Subsystem sftp /usr/lib/openssh/sftp-server\n"
        )

    def _start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, for the separation of privileges
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.root / "log").open("w") as log:
            self._process = subprocess.Popen([program, "-D", "-e", "-f", self.root / "sshd_config"], stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.root / "log").read_text())

    def trust(self, key: Path) -> None:
        """Makes the client know the device by this key."""
        (self.root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key.read_text()}")

    @property
    def url(self) -> str:
        return f"ssh://127.0.0.1:{self.port}"

    @property
    def options(self) -> str:
        """What SLIDE_EXPORT_SSH has to be."""
        return f"-F {self.root}/client_config"

    def left(self) -> list[str]:
        """Returns what is left in the device's directory for temporary files, once nothing of ours runs there."""
        end = time.monotonic() + 10
        while (found := [path.name for path in self.temporary.iterdir()]) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def drop(self) -> None:
        """Kills the processes that serve connections, as a network that goes away would end them."""
        for process in _children(self._process.pid):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        self.drop()
        self._process.kill()
        self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == pid:
            found.append(int(path.parent.name))
    return found
