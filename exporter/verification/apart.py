"""A bundle's artifact in a process of its own, so that one that crashes its runtime is an answer and not an end.

One process serves all bundles of a batch, one after the other: what it imports for one it has for the next. After a
crash the next bundle gets a new one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from slide_export.benchmark.process import Process, ending
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import DtypeStats, Feeds, Outputs
from slide_export.core.errors import BundleError, CrashError, SlideExportError
from slide_export.core.progress import Progress
from slide_export.core.text import foreign

from .opening import OpenedArtifact, artifact_of

COMMAND = (sys.executable, "-m", "slide_export.verification.runner")


class Runners:
    """The process that runs artifacts, started at once, while this one still imports, and again after a crash.

    Example:
        with Runners() as runners:
            prove_each(paths, VerifyOptions(opening=runners.opened))
    """

    def __init__(self) -> None:
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @contextmanager
    def opened(self, made: Bundle, step: Progress) -> Iterator[OpenedArtifact]:
        """A bundle's artifact, open in the process; see `opened_apart`."""
        _, path, graph, settings = artifact_of(made)
        job = {
            "target": made.manifest.target,
            "path": str(path.resolve()),
            "graph": str(graph.resolve()) if graph else None,
            "settings": settings,
        }
        process = self._started()
        try:
            with step("count what it stores and computes"):
                told = process.ask({"open": job})
            with tempfile.TemporaryDirectory(prefix="slide-export-proof-") as room:
                place, census = Path(room), DtypeStats(**told["census"])

                def orders(rounds: Sequence[str]) -> Apart:
                    """The orders that the artifact sorts by, in the same process."""
                    answer = process.ask({"orders": list(rounds)})
                    return Apart(process, answer["evaluator"], place, "order")

                yield OpenedArtifact(Apart(process, told["evaluator"], place), census, orders)
        except CrashError:
            self._end()
            raise

    def _started(self) -> Process:
        if self._process is None:
            self._process = Process("the artifact's runtime", COMMAND, None, None, _crash).__enter__()
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.__exit__()
            self._process = None


class Apart:
    """An artifact that another process has loaded; arrays go there and back in files."""

    def __init__(self, process: Process, evaluator: str, room: Path, question: str = "run") -> None:
        self.evaluator, self._process, self._question = evaluator, process, question
        self._inputs, self._outputs = room / "inputs.npz", room / "outputs.npz"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            CrashError: the runtime crashed.
            BundleError: the runtime refuses the inputs, or there is no room for them.
        """
        try:
            with self._inputs.open("wb") as file:
                np.savez(file, **feeds)  # type: ignore[arg-type]  # names are inputs', not savez's options
            self._process.ask({self._question: str(self._inputs), "outputs": str(self._outputs)})
            with np.load(self._outputs, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError) as error:
            raise BundleError(f"expected room for a batch in {tempfile.gettempdir()}: {foreign(error, 200)}") from error


@contextmanager
def opened_apart(made: Bundle, step: Progress) -> Iterator[OpenedArtifact]:
    """A bundle's artifact, opened on this machine in a process of its own.

    Raises:
        BackendUnavailable: the target is not installed here.
        CrashError: the artifact crashes its runtime.
        BundleError: its runtime cannot open it.
    """
    with Runners() as runners, runners.opened(made, step) as artifact:
        yield artifact


def _crash(code: int, message: str) -> SlideExportError:
    """A process that ended, as what it says of the artifact."""
    said = f": {foreign(message, 200)}" if message else ""
    return CrashError(
        f"expected an artifact that runs, the runtime crashed ({ending(code)}){said}; the artifact is damaged, or this "
        "runtime does not fit it"
    )
