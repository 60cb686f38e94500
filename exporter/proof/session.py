"""Open an artifact to prove it or to look inside, or the graph that it was built from where it cannot run here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, Session
from slide_export.core.graph import Value

GRAPHS = "onnx"
"""The target that runs graphs in the place of artifacts."""
LITERALLY = {"literal": True}
"""Settings of that backend for a graph that another runtime was built from: compute what Q and DQ say, as written."""


@dataclass(frozen=True)
class ArtifactValues:
    """An artifact to look into.

    Attributes:
        values: that it computes, in the order of execution.
        open: gives a session that shows values by name.
    """

    values: tuple[Value, ...]
    open: Callable[[Sequence[str]], Session]


def open_session(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> Session:
    """Open the artifact or, where it cannot run, the graph that it was built from."""
    reason = optional.unavailable_reason(backend)
    if reason is None or graph is None:
        return backend.Session(path, settings)
    threads = {"threads": settings["threads"]} if "threads" in settings else {}
    return on_graph(backends.load(GRAPHS).Session(graph, {**LITERALLY, **threads}), reason)


def look_inside(backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any]) -> ArtifactValues:
    """Values of the artifact or, where it cannot run, of the graph that it was built from.

    Raises:
        RequestError: the backend shows no values.
    """
    reason = optional.unavailable_reason(backend)
    if reason is None or graph is None:
        return ArtifactValues(
            optional.values(backend, path, settings),
            lambda names: optional.intermediates(backend, path, settings, names),
        )
    # The graph holds what the precision stores, Q/DQ and casts included; only the vendor's kernels are not looked at.
    runner = backends.load(GRAPHS)
    return ArtifactValues(
        optional.values(runner, graph, LITERALLY),
        lambda names: on_graph(optional.intermediates(runner, graph, LITERALLY, names), reason),
    )


def on_graph(session: Session, reason: str) -> Session:
    """Label a session that runs the source graph because the artifact cannot run here."""
    session.evaluator += f", on the artifact's own graph; the artifact has not run: {reason}"
    return session
