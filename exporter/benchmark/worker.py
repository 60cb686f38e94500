"""Process that runs one artifact and nothing else.

Questions come on standard input, answers go to standard output, one JSON object a line:

    first line   {"target", "path", "settings", "feeds", "batch", "affinity"}  {"evaluator", "import_ms", "load_ms"}
    then         {"untimed": 1, "calls": 5}                                    {"ms": [...], "peak_mib"}
    or           {"profile": 5}                                                {"profile": [{"module", ...}, ...]}
    or           {"run": inputs}                                               {"outputs": outputs}
    or           {"census": true}                                              {"census": {"stored", ...}}
    until        the end of input

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

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.core.errors import SlideExportError
from slide_export.core.orphan import end_with_parent

from .arrays import packed, unpacked

REST_S = 0.02  # five ticks of a kernel that accounts 250 times a second: a spinning thread shows in it
RESTING_SHARE = 0.1  # of one processor
REST_LIMIT_S = 0.5


class LoadedArtifact:
    """One artifact with its inputs."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        """Bind the process to its processors and read the inputs.

        Args:
            job: first line of the protocol.
        """
        if job["affinity"] and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, job["affinity"])
        self._backend = backends.load(job["target"])
        self._path, self._settings = Path(job["path"]), job["settings"]
        self._feeds = _feeds(job["feeds"], job["batch"]) if job["feeds"] else {}

    def load(self) -> dict[str, Any]:
        """Import the runtime and open the artifact: its evaluator, and the milliseconds of both."""
        start = time.perf_counter()
        for module in optional.runtime_modules(self._backend):
            importlib.import_module(module)
        imported = time.perf_counter()
        self._session = self._backend.Session(self._path, self._settings)
        loaded = time.perf_counter()
        times = {"import_ms": (imported - start) * 1e3, "load_ms": (loaded - imported) * 1e3}
        return {"evaluator": self._session.evaluator, **times}

    def call(self, untimed: int, calls: int) -> dict[str, Any]:
        """Milliseconds of each call, and the largest resident set so far.

        Args:
            untimed: warm-up calls, so that cold caches and sleeping threads are not timed.
            calls: number of timed calls.
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
        """Lines of a profile, from a session of its own: a profiler costs time."""
        found = optional.profile(self._backend, self._path, self._settings, self._feeds, calls)
        return {"profile": [asdict(line) for line in found]}

    def run(self, inputs: str) -> dict[str, Any]:
        """Outputs for the inputs in the question."""
        return {"outputs": packed(self._session.run(unpacked(inputs)))}

    def census(self) -> dict[str, Any]:
        """Dtype statistics of the artifact on this machine."""
        return {"census": asdict(optional.dtype_stats(self._backend, self._path, self._settings))}


def _feeds(path: str, batch: int) -> dict[str, Any]:
    with np.load(path) as given:
        return {name: _repeated(given[name], batch) for name in given.files}


def _repeated(images: Any, batch: int) -> Any:
    return np.ascontiguousarray(images[np.arange(batch) % len(images)])


def _rest() -> None:
    """Wait until the runtime's threads rest: some spin after a call and would slow the next process.

    ONNX Runtime 1.32's were seen to spin for 57 ms, OpenVINO 2026.4's for less than 2 ms.
    """
    end = time.monotonic() + REST_LIMIT_S
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(REST_S)
        if time.process_time() - before < REST_S * RESTING_SHARE:
            return


def _peak_mib() -> float:
    """Largest resident set of this process in MiB.

    Not `ru_maxrss` on Linux: a child's begins with what its parent held at the fork (Source: Linux fs/exec.c,
    begin_new_exec, setmax_mm_hiwater_rss).
    """
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    import resource  # not on Windows, whose peak nobody has asked for yet

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def answer(questions: TextIO, answers: TextIO) -> None:
    """Answer every line until the input ends, or until something is refused."""

    def send(content: Mapping[str, Any]) -> None:
        """Write one line, at once: the parent waits for it."""
        print(json.dumps(content, allow_nan=False), file=answers, flush=True)

    try:
        artifact = LoadedArtifact(json.loads(questions.readline()))
        send(artifact.load())
        for line in questions:
            send(_answer(artifact, json.loads(line)))
    except SlideExportError as error:
        send({"error": str(error), "kind": type(error).__name__})


def _answer(artifact: LoadedArtifact, question: Mapping[str, Any]) -> dict[str, Any]:
    if "profile" in question:
        return artifact.profile(question["profile"])
    if "run" in question:
        return artifact.run(question["run"])
    return artifact.census() if "census" in question else artifact.call(**question)


if __name__ == "__main__":
    end_with_parent(os.getppid())
    # Vendors' libraries print to standard output; the answers keep it for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer(sys.stdin, answers)
