"""moto's server on 127.0.0.1: the interface of S3, in memory, to be stopped and started."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "team"
START_S = 60.0


class S3Server:
    """A server in a process of its own, so that stopping it is an outage."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < deadline, "moto's server did not start"
            time.sleep(0.1)
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")).close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


@contextmanager
def serving() -> Iterator[S3Server]:
    """A started server; the environment names it to whatever speaks to S3."""
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    server = S3Server()
    given = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        assert os.environ["AWS_ENDPOINT_URL"] == server.url
        s3fs.S3FileSystem.clear_instance_cache()  # which speak to the server of an earlier test, or to none
        try:
            server.start()
            yield server
        finally:
            server.stop()
