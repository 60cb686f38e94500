"""The process that runs one artifact and nothing else.

It is asked on standard input and answers on standard output, one JSON object a line:

    first line   {"target", "path", "settings", "feeds", "batch", "affinity"}  {"evaluator", "import_ms", "load_ms"}
    then         {"untimed": 1, "calls": 5}                                    {"ms": [...], "peak_mib"}
    or           {"profile": 5}                                                {"profile": [{"module", ...}, ...]}
    or           {"run": inputs}                                               {"outputs": outputs}
    or           {"census": true}                                              {"census": {"stored", ...}}
    at last      the end of input                                              ends

A refusal is {"error", "kind"}. `feeds` names an .npz file of real inputs, first axis the image, repeated to the batch;
null where only `run` and `census` are asked, whose arrays are .npz files in base64. Beside NumPy and the backend of the
target this file needs nothing, so that it can be copied to another device.
"""

import contextlib
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from slide_export.backends import registry as backends
from slide_export.core.errors import SlideExportError

from .arrays import packed, unpacked

REST_S = 0.02  # five ticks of a kernel that accounts 250 times a second: a spinning thread shows in it
RESTING = 0.1  # of one processor
REST_LIMIT_S = 0.5


class Runner:
    """One artifact with its inputs."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        if order["affinity"] and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, order["affinity"])
        self._backend = backends.load(order["target"])
        self._path, self._settings = Path(order["path"]), order["settings"]
        self._feeds = _feeds(order["feeds"], order["batch"]) if order["feeds"] else {}

    def load(self) -> dict[str, Any]:
        """Returns what runs the artifact and the milliseconds of its import and of loading."""
        start = time.perf_counter()
        for module in self._backend.RUNTIME:
            importlib.import_module(module)
        imported = time.perf_counter()
        self._session = self._backend.Session(self._path, self._settings)
        loaded = time.perf_counter()
        times = {"import_ms": (imported - start) * 1e3, "load_ms": (loaded - imported) * 1e3}
        return {"evaluator": self._session.evaluator, **times}

    def call(self, untimed: int, calls: int) -> dict[str, Any]:
        """Returns the milliseconds of each call, and the largest resident set so far.

        Args:
            untimed: calls before: they wake the threads and fill the caches that another process has had meanwhile.
            calls: how many.
        """
        for _ in range(untimed):
            self._session.run(self._feeds)
        times = []
        gc.collect()
        gc.disable()
        for _ in range(calls):
            start = time.perf_counter_ns()
            self._session.run(self._feeds)
            times.append((time.perf_counter_ns() - start) / 1e6)
        gc.enable()
        _rest()
        return {"ms": times, "peak_mib": _peak_mib()}

    def profile(self, calls: int) -> dict[str, Any]:
        """Returns the lines of a profile: of a session of its own, for a profiler costs time."""
        found = self._backend.profile(self._path, self._settings, self._feeds, calls)
        return {"profile": [asdict(line) for line in found]}

    def run(self, inputs: str) -> dict[str, Any]:
        """Returns the outputs for inputs that come with the question."""
        return {"outputs": packed(self._session.run(unpacked(inputs)))}

    def census(self) -> dict[str, Any]:
        """Returns what the artifact stores and computes on this machine."""
        return {"census": asdict(self._backend.census(self._path, self._settings))}


def _feeds(path: str, batch: int) -> dict[str, Any]:
    with np.load(path) as given:
        return {name: _repeated(given[name], batch) for name in given.files}


def _repeated(images: Any, batch: int) -> Any:
    return np.ascontiguousarray(images[np.arange(batch) % len(images)])


def _rest() -> None:
    """Waits until the runtime's threads rest: some spin after a call and would slow the next process.

    ONNX Runtime 1.32's were seen to spin for 57 ms, OpenVINO 2026.4's for less than 2 ms.
    """
    end = time.monotonic() + REST_LIMIT_S
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(REST_S)
        if time.process_time() - before < REST_S * RESTING:
            return


def _peak_mib() -> float:
    """Returns the largest resident set of this process.

    Not `ru_maxrss` on Linux: a child's begins with what its parent held at the fork (Source: Linux fs/exec.c,
    begin_new_exec, setmax_mm_hiwater_rss).
    """
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    import resource  # not on Windows, whose peak nobody has asked for yet

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def answer(questions: TextIO, answers: TextIO) -> None:
    """Answers every line until the input ends, or until something is refused."""

    def say(content: Mapping[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        runner = Runner(json.loads(questions.readline()))
        say(runner.load())
        for line in questions:
            say(_asked(runner, json.loads(line)))
    except SlideExportError as error:
        say({"error": str(error), "kind": type(error).__name__})


def _asked(runner: Runner, asked: Mapping[str, Any]) -> dict[str, Any]:
    if "profile" in asked:
        return runner.profile(asked["profile"])
    if "run" in asked:
        return runner.run(asked["run"])
    return runner.census() if "census" in asked else runner.call(**asked)


if __name__ == "__main__":
    # Vendors' libraries print to standard output; the answers keep it for themselves.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer(sys.stdin, own)
