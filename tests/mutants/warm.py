"""Processes that are warm: torch and the runtimes are imported once, what is tested is imported anew in each fork."""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from .deciding import ROOT

VENDORS = (
    "torch",
    "torch.export",
    "torch.onnx",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "onnxruntime.quantization",
    "openvino",
    "nncf",
    "coremltools",
    "scipy.stats",
    "PIL.Image",
    "rich.console",
    "typer",
    "yaml",
)
WALL = 6  # a process may wait so many times its processor time, for others use the machine too
POLL_S = 0.02
CRASHED = 99
SAID = ROOT / "build" / "mutants" / "last.log"  # what the last fork printed


def warm_up() -> None:
    """Import what every test may need; nothing of slide_export, which the forks import with its mutants."""
    os.environ["OMP_NUM_THREADS"] = "1"
    importlib.import_module("slide_export")  # first, for it turns the vendors' reports off
    for name in VENDORS:
        with contextlib.suppress(ImportError):  # a runtime that is not installed: its tests are skipped
            importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "slide_export"]:
        del sys.modules[name]


def in_child(work: Callable[[], int], cpu_s: float) -> int | None:
    """Exit status of `work` in a fork of this process, or None where it took longer than `cpu_s` or was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _run(work, cpu_s)
    deadline = time.monotonic() + WALL * cpu_s
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(POLL_S)


def _run(work: Callable[[], int], cpu_s: float) -> None:
    code = CRASHED
    try:
        os.setpgid(0, 0)  # a process that a test started ends with its test
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 1))
        SAID.parent.mkdir(parents=True, exist_ok=True)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(said, stream)
        code = int(work())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def quiet_pytest(arguments: Sequence[str], plugins: list[Any] | None = None) -> int:
    """Run pytest in this process without its cache and its workers; its exit status."""
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments], plugins=plugins))
