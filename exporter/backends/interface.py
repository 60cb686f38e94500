"""What a backend is, and what a target's own options, orders and availability are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from slide_export.calibration.recipe import QuantizationRecipe
    from slide_export.core.artifact import Artifact, DtypeStats, Feeds, ModelIO, Outputs
    from slide_export.core.graph import OnnxGraph
    from slide_export.core.measurement import ModuleTime
    from slide_export.inference.served import ServedModel


@dataclass(frozen=True)
class Option:
    """A choice that one backend alone has.

    Attributes:
        default: taken where the user says nothing.
        help: what it does, in a few words.
        choices: the values that it may have; empty allows any.
    """

    default: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoweringOptions:
    """What a backend is asked for.

    Attributes:
        options: every option of the backend, validated, with the defaults filled in.
        quantization: how weights are quantized, None in the float precisions.
    """

    precision: str
    interface: ModelIO
    options: Mapping[str, str] = field(default_factory=dict)
    quantization: QuantizationRecipe | None = None


@dataclass(frozen=True)
class Availability:
    """What a backend can do on this machine.

    Attributes:
        versions: distribution -> installed version.
        missing: distributions that are not installed.
        install: the command that installs them.
        obstacle: why artifacts cannot be run here, None where they can.
        options: what the backend alone can be told.
    """

    target: str
    precisions: tuple[str, ...]
    versions: Mapping[str, str]
    missing: tuple[str, ...]
    install: str
    obstacle: str | None
    options: Mapping[str, Option]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing, so that artifacts can be made here."""
        return not self.missing

    @property
    def proves(self) -> str:
        """What a proof here runs: the artifact, the graph that it was built from, or nothing."""
        if not self.ready:
            return "nothing"
        return "its graph" if self.obstacle else "the artifact"


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

    ACCEPTS: type[OnnxGraph] | type[ServedModel]
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

    def lower(self, source: Any, directory: Path, order: LoweringOptions) -> Artifact:
        """Writes the artifact into `directory` and returns it; raises `LoweringError`."""

    def profile(self, path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
        """Returns what the runtime's own profiler says of each operation, in the order of execution.

        Raises:
            RequestError: the runtime has no profiler that can be asked here.
        """

    def census(self, path: Path, settings: Mapping[str, Any]) -> DtypeStats:
        """Returns what the saved artifact at `path` stores and computes."""

    def values(self, path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
        """Returns every value that the artifact computes from its inputs, in the order of execution."""

    def intermediates(self, path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Loaded:
        """Returns a session that gives these values beside the outputs, or instead, by the names of `values`.

        Showing a value keeps a runtime from fusing across it, so results may differ from the plain session's by
        rounding.
        """
