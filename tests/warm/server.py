"""The process that has the imports: `python -m tests.warm.server SOCKET` forks one child for each client."""

import array
import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from . import STARTED, words
from .client import OWN

MODULES = (
    "torch",
    "torch.onnx",
    "onnx",
    "onnx_ir",
    "scipy.stats",
    "PIL.Image",
    "slide_export.cli.main",
    "slide_export.verification.runner",
    "slide_export.verification.batch",
    "slide_export.benchmark.worker",
    "slide_export.workflows.mixed",
    "slide_export.workflows.prepared_files",
    "slide_export.diagnosis",
)
"""Imported before the first fork: no vendor's runtime, whose import is a part of what a measurement tells."""


def serve(path: Path) -> None:
    """Answer clients until the end, which is that of the session too: one that was killed ends nothing itself."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    listening = socket.socket(socket.AF_UNIX)
    hidden = path.with_suffix(".starting")
    listening.bind(str(hidden))
    listening.listen(64)
    importlib.import_module("slide_export")  # first, for it turns the vendors' reports off
    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for module in STARTED:  # what a fork starts is warm too
        module.COMMAND = words(*module.COMMAND[1:])  # type: ignore[attr-defined]  # a constant
    hidden.rename(path)  # listens from here on
    while True:
        client, _ = listening.accept()
        with contextlib.suppress(OSError, ValueError):  # one that was killed while it asked
            _take(client, listening)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _take(client: socket.socket, listening: socket.socket) -> None:
    """Fork for one client, and have a thread wait for the end of either."""
    head, rights, *_ = client.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    if not rights:
        client.close()
        return
    streams = array.array("i", rights[0][2])
    length, content = int.from_bytes(head, "big"), b""
    while len(content) < length and (part := client.recv(length - len(content))):
        content += part
    order = json.loads(content)
    same = all(order["environment"].get(name) == os.environ.get(name) for name in OWN)
    child = os.fork() if same else 0
    if same and not child:
        listening.close()
        client.close()
        _be(order, list(streams))
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):  # `_wait` ends the fork of one that is gone
        client.sendall(f"{child}\n".encode())
    if not same:
        client.close()
        return
    threading.Thread(target=_wait, args=(client, child), daemon=True).start()


def _wait(client: socket.socket, child: int) -> None:
    """Tell the client how its fork ended; end the fork where the client is gone."""
    ended = threading.Event()

    def end_with_client() -> None:
        """Kill the fork when the client closes its side, which is an error where it had not read what it was told."""
        with contextlib.suppress(OSError):
            client.recv(1)
        if not ended.is_set():
            os.kill(child, signal.SIGKILL)

    threading.Thread(target=end_with_client, daemon=True).start()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it keeps its number until it is known to have ended
    ended.set()
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        client.shutdown(socket.SHUT_RDWR)


def _be(order: dict[str, Any], streams: list[int]) -> None:
    """Become the process that a client asks for, and end as Python would."""
    code = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        for stream in streams:
            os.close(stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(order["directory"])
        os.environ.clear()
        os.environ.update(order["environment"])
        code = _run(order["argv"])
        threading._shutdown()  # type: ignore[attr-defined]  # what Python does first when it ends
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _run(argv: list[str]) -> int:
    """Exit code of a module or file run as the main one."""
    try:
        if argv[0] == "-c":
            sys.argv = ["-c", *argv[2:]]
            sys.path[0] = ""
            exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
        elif argv[0] == "-m":
            sys.argv = argv[1:]
            sys.path[0] = str(Path.cwd())
            sys.modules.pop(argv[1], None)  # runpy executes it anew
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path[0] = str(Path(argv[0]).parent)
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
