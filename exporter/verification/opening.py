"""How a bundle's artifact is opened to be proved: what each place where it may run hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, Session
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Array, DtypeStats, Feeds, Outputs
from slide_export.core.errors import ParityError
from slide_export.core.progress import Progress
from slide_export.core.proof import Reference
from slide_export.core.text import foreign
from slide_export.proof import plain_load
from slide_export.proof.orders_inside import open_orders
from slide_export.proof.plain_load import OpenedPlain
from slide_export.proof.session import open_session


@dataclass(frozen=True)
class OpenedArtifact:
    """An artifact where it runs.

    Attributes:
        load_plainly: loads it once more without settings; None where nobody knows what that does.
        orders: names of the rounds of layers that sort -> a session that gives their orders; None where nothing can be
            read inside the artifact.
    """

    session: Session
    census: DtypeStats
    load_plainly: Callable[[], OpenedPlain | None] = lambda: None
    orders: Callable[[Sequence[str]], Session] | None = None


Opening: TypeAlias = Callable[[Bundle, Progress], AbstractContextManager[OpenedArtifact]]
"""Opens a bundle's artifact where it is to be proved."""


def artifact_of(made: Bundle) -> tuple[Backend, Path, Path | None, Mapping[str, Any]]:
    """Backend, path, graph and settings of a bundle's artifact; the settings without what acts outside of the bundle.

    Raises:
        BackendUnavailable: the target is not installed here.
    """
    manifest = made.manifest
    backend, artifact = backends.require(manifest.target, manifest.precision.name), manifest.artifact
    graph = made.path / artifact.graph if artifact.graph else None
    return backend, made.path / artifact.path, graph, optional.harmless_settings(backend, artifact.settings)


@contextmanager
def opened_here(made: Bundle, _step: Progress) -> Iterator[OpenedArtifact]:
    """A bundle's artifact, opened in this process: for one that may end with it.

    Raises:
        BackendUnavailable: the target is not installed here.
    """
    backend, path, graph, settings = artifact_of(made)
    census = optional.dtype_stats(backend, path, settings)
    load = partial(plain_load.load, backend, path, settings, census.computed)
    orders = partial(open_orders, backend, path, graph, settings)
    yield OpenedArtifact(open_session(backend, path, graph, settings), census, load, orders)


class FittingSession:
    """A session whose outputs can be compared with a reference, refused where they cannot."""

    def __init__(self, session: Session, reference: Reference) -> None:
        self.evaluator, self._session, self._reference = session.evaluator, session, reference

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            ParityError: an output is missing, or is of another shape than the model's.
        """
        found, count = self._session.run(feeds), len(next(iter(feeds.values())))
        for name, exact in self._reference.exact.items():
            expected = (count, *exact.shape[1:])
            if name not in found or found[name].shape != expected or not _is_real(found[name]):
                raise ParityError(
                    f"expected the output {foreign(name)} {list(expected)} of {count} images, found "
                    f"{_outputs_in_words(found)}: the artifact is not the model"
                )
        return found


def _is_real(value: Array) -> bool:
    return value.dtype.kind in "fiub"


def _outputs_in_words(found: Outputs) -> str:
    return foreign(", ".join(f"{name} {list(value.shape)} of {value.dtype}" for name, value in found.items()) or "none")
