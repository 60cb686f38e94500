"""Jobs in processes of their own, so that one that crashes, hangs or runs out of memory ends alone.

A nursery is a Python process that has imported what every job needs and does nothing else. Each job is forked from it
and starts in milliseconds, where a new interpreter needs seconds for torch alone. The nursery itself never computes:
OpenMP's threads do not survive a fork, so a process that has used them must not have children that do.

    parent  ── {"job", "function", "argument", "directory"} ──>  nursery  ── fork ──>  child: function(argument)
            <── {"job", "pid"} ────────────────────────────────
            <── {"job", "status", "peak"} ─────────────────────  (waited for)

A job's result and last words are files in its directory: `result.json` and `stderr`; so are its temporary files, which
go with it whatever ends it. Nothing outlives the parent: the kernel ends the nursery with it, and the jobs with the
nursery (Linux; elsewhere a job ends when it is done).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from slide_export.core.errors import CRASHED, OUT_OF_TIME
from slide_export.core.orphan import end_with_parent

FORKS = sys.platform == "linux"  # elsewhere a fork after frameworks were loaded is not safe
EXPORT = (
    "slide_export.workflows.prepared_files",
    "slide_export.workflows.finish",
    "slide_export.workflows.mixed",
    "torch._dynamo",  # which torch's exporter imports at its first graph: a fifth of a small export
)
"""What every export imports: for a nursery whose jobs are some."""
RESULT, LAST_WORDS, TEMPORARY = "result.json", "stderr", "tmp"
PEAK_BYTES = 1 if sys.platform == "darwin" else 1 << 10  # of `ru_maxrss`; see getrusage(2) of each
COMMAND = (sys.executable, "-m", "slide_export.workflows.child")
LAST_MOMENT_S = 10.0  # for a killed job to be gone: a process that waits for its disk takes a while


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        result: what its function returned; None where it crashed or was stopped.
        message: why there is no result.
        seconds: from its start to its end.
        exit_code: 0 where there is a result.
        peak_mib: the most memory that it held; None where nobody counted.
    """

    result: Any
    message: str
    seconds: float
    exit_code: int = 0
    peak_mib: float | None = None


def threads_each(processes: int) -> str:
    """OMP_NUM_THREADS of each of so many processes: as the user says, else their share of the cores."""
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))


class Nursery:
    """Run jobs, each a process of its own, several at a time.

    Example:
        with Nursery(preload=("torch", "slide_export.workflows.finish")) as nursery:
            end = nursery.run("slide_export.workflows.all_targets:finish_one", {"target": "onnx"}, timeout_s=900)

    Args:
        preload: modules to import before the first job.
        environment: variables of the jobs, beside the parent's.
    """

    def __init__(self, preload: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self._preload = tuple(preload)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._lock = threading.Lock()
        self._answers = threading.Condition()
        self._pids: dict[int, int] = {}
        self._status: dict[int, int] = {}
        self._peaks: dict[int, float] = {}
        self._named: dict[str, int] = {}
        self._jobs = 0
        self._stopped = False

    def __enter__(self) -> Nursery:
        if FORKS:
            command = [*COMMAND, *self._preload]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment
            )
            self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._listener is not None:
                self._listener.join(5)
            if self._process.stdout is not None and not (self._listener and self._listener.is_alive()):
                self._process.stdout.close()

    @property
    def gone(self) -> bool:
        """Whether its process has ended, so that no job can run here any more."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """End every job; each `run` that waits for one returns."""
        self._stopped = True
        for pid in list(self._pids.values()):
            _kill(pid)

    def end(self, name: str) -> bool:
        """Kill the job that runs under a name; whether there was one."""
        with self._answers:
            pid = self._pids.get(self._named.get(name, 0), 0)
        _kill(pid)
        return bool(pid)

    def run(
        self, function: str, argument: Any, timeout_s: float, name: str = "", imports: Sequence[str] = ()
    ) -> JobEnd:
        """Run `MODULE:NAME` on an argument that JSON can hold, and wait for its end.

        Args:
            timeout_s: a job that takes longer is stopped.
            name: for `end`.
            imports: modules that jobs like this one need too, imported once for all of them.
        """
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="slide-export-job-") as directory:
            order = {"function": function, "argument": argument, "directory": directory, "imports": list(imports)}
            status, peak_mib = self._outcome(order, timeout_s, name)
            seconds = time.monotonic() - start
            if status is None:
                said = f"expected an end within {timeout_s:g} s, found none: it was stopped"
                return JobEnd(None, said, seconds, OUT_OF_TIME, peak_mib)
            with contextlib.suppress(OSError, ValueError):
                return JobEnd(json.loads((Path(directory) / RESULT).read_text()), "", seconds, 0, peak_mib)
            said = f"its process crashed ({_ending(status)}): {_last_words(directory)}"
            return JobEnd(None, said, seconds, CRASHED, peak_mib)

    def _outcome(self, order: Mapping[str, Any], timeout_s: float, name: str) -> tuple[int | None, float | None]:
        """Exit status of the job, negative for a signal, None where it was stopped; and its peak memory in MiB."""
        if self._process is None:
            return _alone(order, timeout_s, self._environment), None
        with self._lock:
            self._jobs += 1
            job = self._jobs
            if name:
                self._named[name] = job
            line = json.dumps({"job": job, **order}, allow_nan=False)
            try:
                print(line, file=self._process.stdin, flush=True)
            except (OSError, ValueError):
                return CRASHED, None
        try:
            status = self._wait(self._process, job, timeout_s)
        finally:
            if self._named.get(name) == job:
                del self._named[name]
        return status, self._peaks.pop(job, None)

    def _wait(self, nursery: subprocess.Popen[str], job: int, timeout_s: float) -> int | None:
        deadline = None  # a job's time begins when it does, not while the nursery still imports
        with self._answers:
            while job not in self._status:
                if nursery.poll() is not None:
                    return CRASHED
                if deadline is None and job in self._pids:
                    deadline = time.monotonic() + timeout_s
                left = 1.0 if deadline is None else deadline - time.monotonic()
                if self._stopped and job not in self._pids:
                    return CRASHED
                if left <= 0 or self._stopped:
                    _kill(self._pids.pop(job, 0))
                    self._answers.wait_for(lambda: job in self._status, LAST_MOMENT_S)
                    self._status.pop(job, None)
                    return None
                self._answers.wait(min(left, 1.0))
            self._pids.pop(job, None)
            return self._status.pop(job)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            answer = json.loads(line)
            with self._answers:
                if "pid" in answer:
                    self._pids[answer["job"]] = answer["pid"]
                else:
                    self._status[answer["job"]] = answer["status"]
                    self._peaks[answer["job"]] = answer["peak"] * PEAK_BYTES / (1 << 20)
                self._answers.notify_all()
        with self._answers:
            self._answers.notify_all()


def _alone(order: Mapping[str, Any], timeout_s: float, environment: Mapping[str, str]) -> int | None:
    command = [*COMMAND, "--job"]
    with (Path(order["directory"]) / LAST_WORDS).open("wb") as stderr:
        try:
            done = subprocess.run(
                command, input=json.dumps(order, allow_nan=False).encode(), stdout=stderr,
                stderr=stderr, timeout=timeout_s, check=False, env={**environment, "TMPDIR": str(_temporary(order))},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


def _temporary(order: Mapping[str, Any]) -> Path:
    """The directory of a job's temporary files, made."""
    place = Path(order["directory"]) / TEMPORARY
    place.mkdir(exist_ok=True)
    return place


def _kill(pid: int) -> None:
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, signal.SIGKILL)  # the job leads a group: what it started ends with it
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)  # not yet: it has only just been forked


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _last_words(directory: str) -> str:
    try:
        text = (Path(directory) / LAST_WORDS).read_text(errors="replace")
    except OSError:
        return "nothing said"
    return (text.strip().splitlines() or ["nothing said"])[-1]


def _work(order: Mapping[str, Any]) -> None:
    """Run one job in this process and write its result whole."""
    module, _, name = order["function"].partition(":")
    result = getattr(importlib.import_module(module), name)(order["argument"])
    partial = Path(order["directory"]) / f"{RESULT}.partial"
    partial.write_text(json.dumps(result, allow_nan=False))
    partial.rename(partial.with_name(RESULT))


def _fork(order: Mapping[str, Any], to_parent: TextIO) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        end_with_parent(nursery)
        os.setsid()
        tempfile.tempdir = os.environ["TMPDIR"] = str(_temporary(order))
        stderr = os.open(Path(order["directory"]) / LAST_WORDS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stderr, 1), (stderr, 2)):
            os.dup2(source, target)
        os.close(to_parent.fileno())
        _work(order)
        status = 0
    except BaseException:  # the process ends here, whatever it was; its last words say what
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what is written to the descriptors of standard output and error meanwhile."""
    null, kept = os.open(os.devnull, os.O_WRONLY), [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        for stream, _ in kept:
            os.dup2(null, stream)
        yield
    finally:
        sys.stdout.flush()
        for stream, before in kept:
            os.dup2(before, stream)
        for descriptor in (null, *(before for _, before in kept)):
            os.close(descriptor)


def _answers(lines: Iterator[str], to_parent: TextIO) -> None:
    """Fork a child for each line, and say when each began and ended."""
    lock = threading.Lock()

    def say(**answer: int) -> None:
        """Write one JSON line; threads wait for many jobs, so lines must not mix."""
        with lock:
            to_parent.write(json.dumps(answer, allow_nan=False) + "\n")
            to_parent.flush()

    def wait(job: int, pid: int) -> None:
        """Wait for one forked job and report its exit status."""
        _, status, used = os.wait4(pid, 0)
        say(job=job, status=os.waitstatus_to_exitcode(status), peak=used.ru_maxrss)

    for line in lines:
        order = json.loads(line)
        for module in order["imports"]:
            with contextlib.suppress(ImportError, OSError), _silence():  # the job meets it again, and says so
                importlib.import_module(module)
        gc.freeze()  # a child's collector would look through, and so copy, all that was imported
        with lock:  # a thread that holds it would never let go in the child
            pid = _fork(order, to_parent)
        say(job=order["job"], pid=pid)
        threading.Thread(target=wait, args=(order["job"], pid), daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """Be the nursery that `Nursery` started; with `--job` run one job and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends its jobs itself
    if list(arguments) == ["--job"]:
        _work(json.loads(sys.stdin.read()))
        return
    end_with_parent(os.getppid())
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints while it is imported is no answer
    for name in arguments:
        importlib.import_module(name)
    _answers(iter(sys.stdin.readline, ""), to_parent)


if __name__ == "__main__":
    main(sys.argv[1:])
