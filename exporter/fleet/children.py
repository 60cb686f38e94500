"""The child processes of one worker: a nursery that lives as long as the worker does, and jobs that can be killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from typing import Any

from slide_export.workflows.child import EXPORT, JobEnd, Nursery

PRELOAD = (
    *EXPORT,
    "slide_export.workflows.prepare",
    "slide_export.verification.batch",
    "slide_export.fleet.evaluating",
)


class Children:
    """Jobs in processes of their own, by their keys.

    The nursery is started by a thread that stays: the kernel ends a process with the *thread* that started it, and an
    engine's threads come and go.
    """

    def __init__(self, preload: tuple[str, ...] = PRELOAD) -> None:
        self._preload = preload
        self._lock = threading.Lock()
        self._nursery: Nursery | None = None
        self._unstarted: OSError | None = None
        self._over = threading.Event()
        self._closed = False
        self._keeper: threading.Thread | None = None
        self._stopped: set[str] = set()

    def run(self, key: str, function: str, argument: Any, timeout_s: float, imports: Sequence[str] = ()) -> JobEnd:
        """Run a function of slide-export in a process of its own; see `Nursery.run`.

        Raises:
            OSError: the system starts no process.
        """
        return self._started().run(function, argument, timeout_s, key, imports)

    def stop(self, keys: Collection[str]) -> None:
        """Kill the jobs of these keys that run here."""
        nursery = self._nursery
        if nursery is not None:
            for key in keys:
                self._stopped.add(key)
                if not nursery.end(key):
                    self._stopped.discard(key)

    def was_stopped(self, key: str) -> bool:
        """Whether a job was killed by `stop`; asked once."""
        if key in self._stopped:
            self._stopped.discard(key)
            return True
        return False

    def close(self) -> None:
        """End every job and the nursery."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._over.set()
        if self._keeper is not None:
            self._keeper.join(15)

    def _started(self) -> Nursery:
        with self._lock:
            if self._nursery is not None and self._nursery.gone and not self._closed:
                self._end()  # the system took it for its memory, say: the jobs after that one are as good as any
                self._nursery, self._over = None, threading.Event()
            if self._nursery is None:
                ready = threading.Event()
                self._keeper = threading.Thread(target=self._keep, args=(ready,), daemon=True, name="slide-export-jobs")
                self._keeper.start()
                ready.wait()
            if self._nursery is None:
                raise self._unstarted or OSError("the nursery of its jobs did not start")
            return self._nursery

    def _keep(self, ready: threading.Event) -> None:
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        try:
            with Nursery(self._preload, {"OMP_NUM_THREADS": threads}) as nursery:
                self._nursery = nursery
                ready.set()
                self._over.wait()
        except OSError as error:
            self._unstarted = error
        finally:
            ready.set()
