"""Jobs for the tests of `child` and `all_targets`: one that answers, and each way to end badly."""

import os
import signal
import sys
import threading
import time
from typing import Any


def answer(argument: Any) -> dict[str, Any]:
    return {"argument": argument, "pid": os.getpid(), "leads": os.getsid(0) == os.getpid()}


def knows(module: str) -> dict[str, Any]:
    return {"known": module in sys.modules, "threads": threading.active_count()}


def crash(_: Any) -> None:
    print("fatal words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(_: Any) -> None:
    raise ValueError("not this")


def hang(_: Any) -> None:
    time.sleep(60)


def prepare_one(_: Any) -> dict[str, Any]:
    return {"path": None}


def finish_one(order: Any) -> dict[str, Any]:
    target = order["request"]["target"]
    if target == "onnx":
        crash(order)
    if target == "openvino":
        hang(order)
    return {"kind": "BackendUnavailable", "error": "not here"}
