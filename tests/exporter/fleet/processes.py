"""Programs of a fleet as their supervisors run them, for tests that kill them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slide_export.fleet.certificates import AUTHORITY

CLIENT = [sys.executable, "-m", "tests.exporter.fleet.client"]


@contextmanager
def client(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A sweep as a program, once its workers are there."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def process(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended at the end."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def scheduler_of(port: int, tls: Path | None = None) -> list[str]:
    """The command of a scheduler on this machine."""
    scheme = "tcp" if tls is None else "tls"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", f"{scheme}://127.0.0.1:{port}",
               "--no-dashboard"]  # fmt: skip
    if tls is not None:
        command += ["--tls-ca-file", str(tls / AUTHORITY)]
        command += ["--tls-cert", str(tls / "scheduler.pem"), "--tls-key", str(tls / "scheduler.key")]
    return command


def worker_of(address: str, *more: str) -> list[str]:
    """The command of `sweep worker`."""
    return [sys.executable, "-m", "slide_export", "sweep", "worker", address, *more]


class Scheduler:
    """A scheduler that is started again when it dies."""

    def __init__(self, port: int) -> None:
        self._command = scheduler_of(port)
        self._over = threading.Event()
        self._process = self._started()
        self._supervisor = threading.Thread(target=self._again)
        self._supervisor.start()

    def kill(self) -> None:
        """End it with signal 9."""
        self._process.kill()

    def close(self) -> None:
        """End it for good."""
        self._over.set()
        self._supervisor.join()
        self._process.kill()
        self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _again(self) -> None:
        while not self._over.wait(0.5):
            if self._process.poll() is not None:
                self._process = self._started()


@contextmanager
def supervised(port: int) -> Iterator[tuple[Scheduler, subprocess.Popen[bytes]]]:
    """A scheduler that is started again when it dies, and `sweep worker`, which does so itself."""
    scheduler = Scheduler(port)
    try:
        await_port(port)
        with process(worker_of(f"tcp://127.0.0.1:{port}", "--slots", "2")) as worker:
            yield scheduler, worker
    finally:
        scheduler.close()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def await_port(port: int) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on {port}")
