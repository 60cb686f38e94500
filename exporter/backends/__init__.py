"""What a backend is. Every other file here is one, and its name is the target's: `onnx.py` is `--target onnx`."""

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from slide_export.errors import BackendUnavailable, RequestError
from slide_export.result import ModuleTime
from slide_export.types import Artifact, Availability, Census, Feeds, LoweredModel, OnnxGraph, Option, Order, Outputs


@dataclass(frozen=True)
class Value:
    """A value that an artifact computes from its inputs.

    Attributes:
        name: what `intermediates` knows it by.
        scope: dotted path of the PyTorch module that computed it, perhaps with a tail that is no module; None where the
            artifact does not tell.
        takes: names of the values that it is computed from.
    """

    name: str
    scope: str | None
    takes: tuple[str, ...]


class Session(Protocol):
    """A loaded artifact."""

    evaluator: str
    """What runs it, as a report says it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Loads the artifact at `path` with the runtime settings of its manifest."""

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name."""


Loaded: TypeAlias = Session  # inside `Backend`, `Session` is its attribute


class Backend(Protocol):
    """One target. Its vendor's package is imported inside its functions, never when its file is."""

    ACCEPTS: type[OnnxGraph] | type[LoweredModel]
    """The stage that `lower` starts from."""
    PRECISIONS: tuple[str, ...]
    IN_GRAPH: frozenset[str]
    """Precisions that the ONNX graph carries, as casts or Q/DQ; `lower` sees to the others."""
    DISTRIBUTIONS: tuple[str | tuple[str, ...], ...]
    """What pip has to have installed; of an entry that is a tuple, any one will do."""
    OPTIONS: Mapping[str, Option]
    RUNTIME: tuple[str, ...]
    """Modules that a session imports; a measurement imports them apart from loading."""
    DEVICE: tuple[str, ...]
    """Distributions, called as their modules are, that run and count an artifact on a device; empty where none do."""
    Session: type[Session]

    def obstacle(self) -> str | None:
        """Returns why artifacts cannot be run on this machine, None where they can; the runtime is installed."""

    def stand_in(self) -> str | None:
        """Returns what runs here in the place of the target's own runtime and what its time is worth, else None."""

    def lower(self, source: Any, directory: Path, order: Order) -> Artifact:
        """Writes the artifact into `directory` and returns it; raises `LoweringError`."""

    def profile(self, path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
        """Returns what the runtime's own profiler says of each operation, in the order of execution.

        Raises:
            RequestError: the runtime has no profiler that can be asked here.
        """

    def census(self, path: Path, settings: Mapping[str, Any]) -> Census:
        """Returns what the saved artifact at `path` stores and computes."""

    def values(self, path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
        """Returns every value that the artifact computes from its inputs, in the order of execution."""

    def intermediates(self, path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Loaded:
        """Returns a session that gives these values beside the outputs, or instead, by the names of `values`.

        Showing a value keeps a runtime from fusing across it, so results may differ from the plain session's by
        rounding.
        """


def names() -> tuple[str, ...]:
    """Returns every target, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(target: str) -> Backend:
    """Returns a backend, whether or not its runtime is installed.

    Raises:
        RequestError: there is no such target.
    """
    if target not in names():
        raise RequestError(f"expected a target of {', '.join(names())}; found {target!r}")
    return cast(Backend, importlib.import_module(f".{target}", __name__))


def require(target: str, precision: str) -> Backend:
    """Returns a backend that can be used here, for a precision that it has.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
        BackendUnavailable: its runtime is not installed.
    """
    backend, here = load(target), availability(target)
    refuse_unknown_precision(target, precision)
    if not here.ready:
        missing = " and ".join(here.missing)
        raise BackendUnavailable(f"expected {missing} for the target {target}, found it not installed: {here.install}")
    return backend


def refuse_unknown_precision(target: str, precision: str) -> None:
    """Refuses a precision that a target does not have, installed here or not.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
    """
    known = load(target).PRECISIONS
    if precision not in known:
        raise RequestError(f"expected a precision of {', '.join(known)} for {target}; found {precision!r}")


def availability(target: str) -> Availability:
    """Returns what is installed for a target, from the package metadata alone: nothing is imported."""
    backend = load(target)
    versions: dict[str, str] = {}
    missing = []
    for entry in backend.DISTRIBUTIONS:
        alternatives = (entry,) if isinstance(entry, str) else entry
        found = _first_installed(alternatives)
        versions |= found
        if not found:
            missing.append(alternatives[0])
    install = f'pip install "slide-export[{target}]"'
    obstacle = "not installed" if missing else backend.obstacle()
    return Availability(target, backend.PRECISIONS, versions, tuple(missing), install, obstacle, backend.OPTIONS)


def _first_installed(alternatives: tuple[str, ...]) -> dict[str, str]:
    """Returns the first of them that is installed, with its version; nothing where none is."""
    for distribution in alternatives:
        try:
            return {distribution: importlib.metadata.version(distribution)}
        except importlib.metadata.PackageNotFoundError:
            continue
    return {}


def complete_options(target: str, given: Mapping[str, str]) -> dict[str, str]:
    """Returns every option of a backend, as given or by default.

    Raises:
        RequestError: the backend has no such option, or the option no such value.
    """
    known = load(target).OPTIONS
    for name, value in given.items():
        if name not in known:
            raise RequestError(f"expected an option of {', '.join(known) or 'none'} for {target}; found {name!r}")
        if known[name].choices and value not in known[name].choices:
            raise RequestError(f"expected {name} to be one of {', '.join(known[name].choices)}; found {value!r}")
    return {name: given.get(name, option.default) for name, option in known.items()}
