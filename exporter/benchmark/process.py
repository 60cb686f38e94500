"""The parent's side of a process that answers lines: asks, waits, and says in one sentence what went wrong.

`Worker` is the one that runs an artifact.
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
from slide_export.core.errors import MeasurementError, SlideExportError
from slide_export.core.measurement import ModuleTime

from .arrays import packed, unpacked

COMMAND = (sys.executable, "-m", "slide_export.benchmark.worker")
LONGEST_WORDS = 300  # of another program, in characters


Explain = Callable[[int, str], SlideExportError | None]
"""Told the exit code and the last words of a process: what really happened, None where it only crashed."""


class Measured(Protocol):
    """What `latency` asks of what runs one artifact; `Worker` is one."""

    def answer(self) -> dict[str, Any]:
        """Returns what it says once it has loaded."""

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Returns the answer to one request for calls."""

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Returns the profile of that many calls."""


class Process:
    """A process that answers each line with a line, both JSON objects. Use it as a context: it ends with it."""

    def __init__(
        self, name: str, command: Sequence[str], threads: int, timeout_s: float, explain: Explain | None = None
    ) -> None:
        """Starts the process.

        Args:
            name: what a message calls it.
            command: starts it.
            threads: that libraries without a setting of their own may use.
            timeout_s: for one answer.
            explain: asked first when the process has ended; nobody without it.
        """
        self._name, self._timeout_s, self._explain = name, timeout_s, explain
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
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
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(BrokenPipeError):  # what it no longer read
                stream.close()  # type: ignore[union-attr]  # both are pipes

    def answer(self) -> dict[str, Any]:
        """Returns the next answer.

        Raises:
            SlideExportError: what the worker itself raised, of the same class.
            MeasurementError: it crashed, or did not answer in time.
        """
        try:
            line = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise MeasurementError(
                f"expected {self._name} to answer within {self._timeout_s:g} s, found none: it was stopped; "
                "a longer --timeout gives it more"
            ) from None
        if not line:
            raise self._reason()
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise getattr(errors, content["kind"])(content["error"])
        return content

    def ask(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer to one question; see `answer`."""
        self._send(content)
        return self.answer()

    def _send(self, content: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is dead: the answer, which does not come, tells why
            print(json.dumps(content), file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # a device's shell may greet before
                self._answers.put(line)
        self._answers.put("")

    def _reason(self) -> SlideExportError:
        """Returns why it has ended."""
        code, last = self._process.wait(), self._last()
        known = self._explain(code, last) if self._explain else None
        return known or MeasurementError(
            f"expected {self._name} to run, its process crashed ({_end(code)}): {last or 'nothing said'}"
        )

    def _last(self) -> str:
        """Returns the last line that it wrote to standard error."""
        self._said.seek(0)
        return last(self._said)


class Worker(Process):
    """A process with one artifact."""

    def __init__(
        self,
        name: str,
        order: Mapping[str, Any],
        threads: int,
        timeout_s: float,
        command: Sequence[str] | None = None,
        explain: Explain | None = None,
    ) -> None:
        """Starts the process and hands it its order.

        Args:
            name: what a message calls the artifact.
            order: the first line of the worker's protocol.
            threads, timeout_s, explain: see `Process`.
            command: starts it; on this machine without one.
        """
        super().__init__(name, command or COMMAND, threads, timeout_s, explain)
        self._send(order)

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Returns the answer to one request for calls."""
        return self.ask({"calls": calls, "untimed": untimed})

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Returns the profile of that many calls."""
        return tuple(ModuleTime(**line) for line in self.ask({"profile": calls})["profile"])

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name."""
        return unpacked(self.ask({"run": packed(feeds)})["outputs"])

    def census(self) -> DtypeStats:
        """Returns what the artifact stores and computes there."""
        return DtypeStats(**self.ask({"census": True})["census"])


def last(lines: Iterable[str]) -> str:
    """Returns the last line that says something."""
    spoken = [line.strip() for line in lines if line.strip()]
    return spoken[-1][:LONGEST_WORDS] if spoken else ""


def _end(code: int) -> str:
    """Returns how a process ended, as one calls it; a shell says 128 + N of a child's signal N."""
    number = -code if code < 0 else code - 128 if 128 < code < 192 else 0
    return f"signal {number}" if number else f"exit code {code}"
