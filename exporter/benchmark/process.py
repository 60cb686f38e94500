"""Parent's side of a process that answers lines: ask, wait, and report a failure in one sentence.

`Worker` is such a process with an artifact in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

from slide_export.core import errors
from slide_export.core.artifact import DtypeStats, Feeds, Outputs
from slide_export.core.errors import MeasurementError, SlideExportError, TimeLimitError, option
from slide_export.core.measurement import ModuleTime

from .arrays import packed, unpacked

COMMAND = (sys.executable, "-m", "slide_export.benchmark.worker")
MESSAGE_CHARACTERS = 300  # quoted of another program at most

Explain = Callable[[int, str], SlideExportError | None]
"""Exit code and last line of a process -> the error behind its end, None where it only crashed."""


class ArtifactWorker(Protocol):
    """A loaded artifact as `rounds` uses it; `Worker` is one."""

    def answer(self) -> dict[str, Any]:
        """Its answer after loading: evaluator, import_ms, load_ms."""

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Times of some calls, after untimed ones: ms, peak_mib."""

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Profile of that many calls."""


class Process:
    """Process that answers each line with a line, both JSON objects; a context, which ends the process."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        threads: int | None,
        timeout_s: float | None,
        explain: Explain | None = None,
    ) -> None:
        """Start the process.

        Args:
            name: in messages.
            command: program and arguments.
            threads: of libraries that have no setting of their own (OpenMP); None leaves them as they are here.
            timeout_s: for one answer; None waits for it.
            explain: finds the error behind an unexpected end.
        """
        self._name, self._timeout_s, self._explain = name, timeout_s, explain
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(BrokenPipeError):  # what it no longer read
                stream.close()  # type: ignore[union-attr]  # both are pipes

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            SlideExportError: the worker raised one of this class.
            MeasurementError: it crashed.
            TimeLimitError: it did not answer in time.
        """
        try:
            line = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise TimeLimitError(
                f"expected {self._name} to answer within {self._timeout_s:g} s, found none: it was stopped; "
                f"a longer {option('timeout_s', 'timeout')} gives it more"
            ) from None
        if not line:
            raise self._reason()
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise errors.from_answer(content)
        return content

    def ask(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question; see `answer`."""
        self._send(content)
        return self.answer()

    def _send(self, content: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is dead: `answer` will say why
            print(json.dumps(content, allow_nan=False), file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # a device's shell may greet before
                self._answers.put(line)
        self._answers.put("")

    def _reason(self) -> SlideExportError:
        """Error that explains the end of the process."""
        code, message = self._process.wait(), self._last_line()
        known = self._explain(code, message) if self._explain else None
        return known or MeasurementError(
            f"expected {self._name} to run, its process crashed ({ending(code)}): {message or 'nothing said'}"
        )

    def _last_line(self) -> str:
        """Last line on its standard error."""
        self._stderr.seek(0)
        return last_line(self._stderr)


class Worker(Process):
    """Process that runs one artifact; `worker` is its side of the protocol."""

    def __init__(
        self,
        name: str,
        job: Mapping[str, Any],
        threads: int,
        timeout_s: float,
        command: Sequence[str] | None = None,
        explain: Explain | None = None,
    ) -> None:
        """Start the process and hand it its job.

        Args:
            name: of the artifact, in messages.
            job: first line of the worker's protocol.
            threads, timeout_s, explain: see `Process`.
            command: program and arguments; the worker on this machine without one.
        """
        super().__init__(name, command or COMMAND, threads, timeout_s, explain)
        self._send(job)

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Times of some calls, after untimed ones: ms, peak_mib."""
        return self.ask({"calls": calls, "untimed": untimed})

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Profile of that many calls."""
        return tuple(ModuleTime(**line) for line in self.ask({"profile": calls})["profile"])

    def run(self, feeds: Feeds) -> Outputs:
        """Every output by name for the inputs by name."""
        return unpacked(self.ask({"run": packed(feeds)})["outputs"])

    def census(self) -> DtypeStats:
        """Dtype statistics of the artifact on that machine."""
        return DtypeStats(**self.ask({"census": True})["census"])


def last_line(lines: Iterable[str]) -> str:
    """Last line that is not blank, shortened; "" without one."""
    filled = [line.strip() for line in lines if line.strip()]
    return filled[-1][:MESSAGE_CHARACTERS] if filled else ""


def ending(code: int) -> str:
    """Exit code in words, `signal 9` or `exit code 2`; a shell gives 128 + N for a child's signal N."""
    number = -code if code < 0 else code - 128 if 128 < code < 192 else 0
    return f"signal {number}" if number else f"exit code {code}"
