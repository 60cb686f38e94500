"""The parent's side of a `worker`: asks, waits no longer than it has to, and says in one sentence what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from slide_export import errors
from slide_export.errors import MeasurementError
from slide_export.result import ModuleTime

COMMAND = (sys.executable, "-m", "slide_export.measuring.worker")
LONGEST_WORDS = 300  # of a crash, in characters


class Worker:
    """A process with one artifact. Use it as a context: the process ends with it."""

    def __init__(self, name: str, order: Mapping[str, Any], threads: int, timeout_s: float) -> None:
        """Starts the process and hands it its order.

        Args:
            name: what a message calls the artifact.
            order: the first line of the worker's protocol.
            threads: that libraries without a setting of their own may use.
            timeout_s: for one answer.
        """
        self._name, self._timeout_s = name, timeout_s
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            COMMAND,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._send(order)

    def __enter__(self) -> Worker:
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
            raise MeasurementError(f"expected {self._name} to run, its process crashed ({self._end()}): {self._last()}")
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise getattr(errors, content["kind"])(content["error"])
        return content

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Returns the answer to one request for calls."""
        self._send({"calls": calls, "untimed": untimed})
        return self.answer()

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Returns the profile of that many calls."""
        self._send({"profile": calls})
        return tuple(ModuleTime(**line) for line in self.answer()["profile"])

    def _send(self, content: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is dead: the answer, which does not come, tells why
            print(json.dumps(content), file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def _end(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _last(self) -> str:
        """Returns the last line that it wrote to standard error."""
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        return lines[-1][:LONGEST_WORDS] if lines else "nothing said"
