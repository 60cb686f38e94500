"""`sweep worker`: one machine's worker of a remote scheduler, started again whenever it ends.

Workers of dask exit when their scheduler does, so something has to start them again: this loop, or a supervisor of the
system around it. The worker itself is dask's own program in a process that ends with this one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from slide_export.core.errors import RequestError
from slide_export.core.orphan import end_with_parent
from slide_export.workflows.child import threads_each

from . import certificates
from .clusters import memory_gib, refuse_open, require, targets_here
from .machine import DEVICE, HERE
from .placer import offered

AGAIN_S = 2.0  # before it is started again
PARENT = "SLIDE_EXPORT_FLEET_PARENT"

log = logging.getLogger(__name__)


def offers(words: Sequence[str]) -> dict[str, float]:
    """What a worker offers, of the command line's words.

    Given   ["gpu=1,board=pi5", "macos=1"]
    Result  {"gpu": 1.0, "board:pi5": 1.0, "macos": 1.0}

    Raises:
        RequestError: a word is no pair.
    """
    found = {}
    for pair in (pair for word in words for pair in word.split(",")):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip() or " " in pair.strip():
            raise RequestError(f"expected what is offered as NAME=VALUE, gpu=1 or board=pi5, found {pair!r}")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[f"{name.strip()}:{value.strip()}"] = 1.0
    return found


def command(address: str, slots: int, offer: Mapping[str, float], tls: Path | None, *, insecure: bool) -> list[str]:
    """The command of one worker.

    Raises:
        RequestError: the address is not fit, or a certificate is missing.
    """
    refuse_open(address, insecure=insecure)
    resources = offered(slots, memory_gib(), offer, targets_here())
    listed = " ".join(f"{name}={amount:g}" for name, amount in resources.items())
    made = [sys.executable, "-m", __name__, address, "--nworkers", "1", "--nthreads", str(slots), "--memory-limit", "0",
            "--no-dashboard", "--resources", listed]  # fmt: skip
    if urlsplit(address).hostname in HERE:
        made += ["--host", "127.0.0.1"]
    if address.startswith("tls://"):
        certificates.security(tls, "worker")  # refuses what is missing
        assert tls is not None
        made += ["--tls-ca-file", str(tls / certificates.AUTHORITY)]
        made += ["--tls-cert", str(tls / "worker.pem"), "--tls-key", str(tls / "worker.key")]
    return made


def run(made: Sequence[str], slots: int, device: str | None) -> None:
    """Keep a worker running until this process is ended."""
    require()
    variables = {**os.environ, "OMP_NUM_THREADS": threads_each(slots), PARENT: str(os.getpid())}
    if device is not None:
        variables[DEVICE] = device
    while True:
        process = subprocess.Popen(made, env=variables)
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        log.warning("the worker ended with exit code %d: starting it again", code)
        time.sleep(AGAIN_S)


def main() -> None:
    """Be dask's worker, and end with the process that started it."""
    end_with_parent(int(os.environ[PARENT]))
    from distributed.cli import dask_worker

    dask_worker.main()


if __name__ == "__main__":
    main()
