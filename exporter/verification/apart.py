"""A bundle's artifact in a process of its own, so that one that crashes its runtime is an answer and not an end.

One process serves all bundles of a batch, one after the other: what it imports for one it has for the next. After a
crash the next bundle gets a new one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from slide_export.backends.interface import Session
from slide_export.benchmark.plan import refuse_no_time
from slide_export.benchmark.process import Process, ending
from slide_export.bundle.store import Bundle
from slide_export.core import typed_json
from slide_export.core.artifact import DtypeStats, Feeds, Outputs
from slide_export.core.errors import BundleError, CrashError, SlideExportError, TimeLimitError
from slide_export.core.graph import Value
from slide_export.core.plain_load import PlainLoad
from slide_export.core.progress import Progress
from slide_export.core.text import foreign
from slide_export.proof.plain_load import OpenedPlain
from slide_export.proof.session import ArtifactValues

from .opening import OpenedArtifact, artifact_of
from .place import TIMEOUT_S

LookInside: TypeAlias = Callable[[Bundle], AbstractContextManager[ArtifactValues]]
"""Shows the values of a bundle's artifact where it runs."""
COMMAND = (sys.executable, "-m", "slide_export.verification.runner")


class Runners:
    """The process that runs artifacts, started at once, while this one still imports, and again after a crash.

    Example:
        with Runners() as runners:
            prove_each(paths, VerifyOptions(opening=runners.opened))

    Args:
        timeout_s: for one answer: to load an artifact, or to run one batch.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        refuse_no_time(timeout_s)
        self._process: Process | None = None
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @contextmanager
    def opened(self, made: Bundle, step: Progress) -> Iterator[OpenedArtifact]:
        """A bundle's artifact, open in the process; see `opened_apart`."""
        with self._asked(made) as (process, job, room):
            with step("count what it stores and computes"):
                told = process.ask({"open": job})
            session = Apart(process, told["evaluator"], room)
            census = DtypeStats(**told["census"])

            def orders(rounds: Sequence[str]) -> Session:
                """The orders that the artifact sorts by."""
                return Apart(process, process.ask({"orders": list(rounds)})["evaluator"], room, "orders")

            yield OpenedArtifact(session, census, session.load_plainly, orders)

    @contextmanager
    def inside(self, made: Bundle) -> Iterator[ArtifactValues]:
        """The values of a bundle's artifact, which the process shows; see `proof.session.look_inside`."""
        with self._asked(made) as (process, job, room):
            found = process.ask({"look": job})["values"]
            values = tuple(_value(*told) for told in found)

            def show(names: Sequence[str]) -> Session:
                """The artifact loaded with these values beside its outputs."""
                return Apart(process, process.ask({"show": list(names)})["evaluator"], room)

            yield ArtifactValues(values, show)

    @contextmanager
    def _asked(self, made: Bundle) -> Iterator[tuple[Process, dict[str, Any], Path]]:
        """The process, which artifact it is to take, and a directory for arrays; a process that failed is ended."""
        _, path, graph, settings = artifact_of(made)
        job = {
            "target": made.manifest.target,
            "path": str(path.resolve()),
            "graph": str(graph.resolve()) if graph else None,
            "settings": settings,
        }
        try:
            with tempfile.TemporaryDirectory(prefix="slide-export-proof-") as room:
                yield self._started(), job, Path(room)
        except (CrashError, TimeLimitError):
            self._end()
            raise

    def _started(self) -> Process:
        if self._process is None:
            self._process = Process("the artifact's runtime", COMMAND, None, self._timeout_s, _crash).__enter__()
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.__exit__()
            self._process = None


class Apart:
    """An artifact that another process has loaded; arrays go there and back in files.

    Args:
        asked: "plain" for the one that was loaded without settings, "orders" for what it sorts by, else "".
    """

    def __init__(self, process: Process, evaluator: str, room: Path, asked: str = "") -> None:
        self.evaluator, self._process, self._room, self._asked = evaluator, process, room, asked
        self._inputs, self._outputs = room / "inputs.npz", room / "outputs.npz"

    def load_plainly(self) -> OpenedPlain | None:
        """The same artifact without its settings; see `proof.plain_load.load`."""
        found = self._process.ask({"plain": True})
        if found["plain"] is None:
            return None
        told = typed_json.read(PlainLoad, found["plain"])
        return OpenedPlain(told, Apart(self._process, "", self._room, "plain") if found["loaded"] else None)

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            CrashError: the runtime crashed.
            TimeLimitError: it took longer than it was given.
            BundleError: the runtime refuses the inputs, or there is no room for them.
        """
        try:
            with self._inputs.open("wb") as file:
                np.savez(file, **feeds)  # type: ignore[arg-type]  # names are inputs', not savez's options
            flags = {"plain": self._asked == "plain", "orders": self._asked == "orders"}
            self._process.ask({"run": str(self._inputs), "outputs": str(self._outputs), **flags})
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
        TimeLimitError: it does not load, or does not answer, in `TIMEOUT_S`.
        BundleError: its runtime cannot open it.
    """
    with Runners() as runners, runners.opened(made, step) as artifact:
        yield artifact


@contextmanager
def inside_apart(made: Bundle) -> Iterator[ArtifactValues]:
    """The values of a bundle's artifact, in a process of its own; see `opened_apart`."""
    with Runners() as runners, runners.inside(made) as values:
        yield values


def _value(name: str, scope: str | None, takes: Sequence[str], output_of: Sequence[str] | None) -> Value:
    return Value(name, scope, tuple(takes), None if output_of is None else tuple(output_of))


def _crash(code: int, message: str) -> SlideExportError:
    """A process that ended, as what it says of the artifact."""
    said = f": {foreign(message, 200)}" if message else ""
    return CrashError(
        f"expected an artifact that runs, the runtime crashed ({ending(code)}){said}; the artifact is damaged, or this "
        "runtime does not fit it"
    )
