"""The interface of a backend: what each must have, and what it may have beside.

A backend is a module of this package, one file or one folder. `Backend` is what it must have. The other protocols and
the names below are optional; `optional.py` asks for them and knows what holds without one:

    unavailable_reason()   why artifacts cannot run on this machine       without: they run wherever it is installed
    precision_obstacle()   why this machine does not compute in one      without: it computes in each
    substitute_runtime()   what runs in the place of the real runtime     without: the real one runs
    RUNTIME                modules that a session imports                 without: their import counts as loading
    SLOW_IMPORTS           modules that take seconds to import            without: every job imports what it needs
    DEVICE                 distributions that run it on a device          without: no device runs it by itself
    DEFAULT_FORM           what `--form auto` stands for                  without: a form that every runtime runs well
    DEFAULT_SAMPLING       the same for deformable attention              without: products with hats
    SUPPRESSES             whether it runs NonMaxSuppression              without: it does not
    WINOGRAD               whether it convolves by Winograd's algorithm   without: it adds up the products themselves
    INSTALL                the command that installs it                   without: pip, by the extra of its name
    LINT                   faults and chances of this target              without: those of every target alone
    is_artifact() and      rules of a saved artifact                      without: an artifact is linted by its graph
    lint_artifact()
    refuse_settings()      settings that `lower` never writes             without: any settings reach the session
    harmless_settings()    settings without files outside of the bundle   without: as the manifest has them
    companions()           files read beside an artifact that is a file   without: none
    FIXED_BATCHES          batch sizes of which an artifact has one       without: any of them, and a dynamic one
    ONE_BY_ONE             no batch axis: a session loops over images        without: an artifact has one
    ENVIRONMENT            packages of `lower` that clash with ours       without: it needs none
    native_runtime() and   what the operator of form native is built      without: the form is refused
    NATIVE_PRECISIONS      against, and the precisions it goes with
    PRECISION.yaml         in its folder: the quantization recipe         without: the user gives one
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from slide_export.calibration.image_cache import FedImages
    from slide_export.calibration.recipe import QuantizationRecipe
    from slide_export.core.artifact import Artifact, DtypeStats, Feeds, ModelIO, Outputs
    from slide_export.core.graph import OnnxGraph, Value
    from slide_export.core.lint import Finding
    from slide_export.core.measurement import ModuleTime
    from slide_export.core.plain_load import PlainLoad
    from slide_export.core.precision import Precision
    from slide_export.core.stored import StoredConstant
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
class IsolatedEnvironment:
    """Packages that clash with ours, kept apart; made and used by `isolation`.

    Attributes:
        lock: pinned versions, one a line; nothing is installed that is not there.
        borrowed: distributions that it links from ours, so that what one writes the other reads.
        download_mib, installed_mib: about what it takes.
        why: what clashes, half a sentence.
    """

    lock: Path
    borrowed: tuple[str, ...]
    download_mib: int
    installed_mib: int
    why: str


@dataclass(frozen=True)
class LoweringOptions:
    """Precision, interface and backend options of one `lower()` call.

    Attributes:
        options: every option of the backend, validated, with the defaults filled in.
        quantization: how weights are quantized, None in the float precisions.
        calibration: what to observe ranges on, audited, where the precision is calibrated and no graph carries it.
    """

    precision: Precision
    interface: ModelIO
    options: Mapping[str, str] = field(default_factory=dict)
    quantization: QuantizationRecipe | None = None
    calibration: FedImages | None = None


@dataclass(frozen=True)
class Availability:
    """What a backend can do on this machine.

    Attributes:
        versions: distribution -> installed version.
        missing: distributions that are not installed.
        install: the command that installs them.
        obstacle: why artifacts cannot be run here, None where they can.
        options: what the backend alone can be told.
        environment: whether its isolated environment is made; None where it needs none.
    """

    target: str
    precisions: tuple[str, ...]
    versions: Mapping[str, str]
    missing: tuple[str, ...]
    install: str
    obstacle: str | None
    options: Mapping[str, Option]
    environment: bool | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing is missing, so that artifacts can be made here."""
        return not self.missing and self.environment is not False

    @property
    def runs(self) -> bool:
        """Whether what a session needs is installed, so that artifacts made anywhere can be proved here."""
        return not self.missing

    @property
    def proves(self) -> str:
        """What a proof here runs: the artifact, the graph that it was built from, or nothing."""
        if not self.runs:
            return "nothing"
        return "its graph" if self.obstacle else "the artifact"


class Session(Protocol):
    """A loaded artifact."""

    evaluator: str
    """What runs it, as a report says it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Load the artifact at `path` with the runtime settings of its manifest."""

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name."""


Loaded: TypeAlias = Session  # inside `Backend`, `Session` is its attribute


class Backend(Protocol):
    """What every target must have. Its vendor's package is imported inside its functions, never when its file is."""

    __name__: str
    ACCEPTS: type[OnnxGraph] | type[ServedModel]
    """The stage that `lower` starts from."""
    PRECISIONS: Mapping[str, bool]
    """Names of its precisions, and whether the ONNX graph carries each, as casts or Q/DQ; `lower` sees to the rest."""
    DISTRIBUTIONS: tuple[str | tuple[str, ...], ...]
    """What pip has to have installed; of an entry that is a tuple, any one will do."""
    OPTIONS: Mapping[str, Option]
    Session: type[Session]

    def lower(self, source: Any, directory: Path, options: LoweringOptions) -> Artifact:
        """Write the artifact into `directory`; raises `LoweringError`."""


@runtime_checkable
class CountsDtypes(Protocol):
    """A backend that knows which element types a saved artifact stores and computes in."""

    def dtype_stats(self, path: Path, settings: Mapping[str, Any]) -> DtypeStats:
        """Count what the saved artifact at `path` stores and computes."""


@runtime_checkable
class Profiles(Protocol):
    """A backend whose runtime times single operations."""

    def profile(self, path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
        """Time each operation by the runtime's own profiler, in the order of execution.

        Raises:
            RequestError: the runtime has no profiler that can be asked here.
        """


@runtime_checkable
class ShowsValues(Protocol):
    """A backend that shows what an artifact computes on its way to the outputs."""

    def values(self, path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
        """Every value that the artifact computes from its inputs, in the order of execution."""

    def intermediates(self, path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Loaded:
        """Open a session that gives these values beside the outputs, or instead, by the names of `values`.

        Showing a value keeps a runtime from fusing across it, so results may differ from the plain session's by
        rounding.
        """


@runtime_checkable
class ReadsStored(Protocol):
    """A backend that reads back what an artifact stores, so that each weight can be held against the float build's."""

    def stored(self, path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
        """Every weight, table and constant of the saved artifact at `path`, as the runtime expands it.

        Names have those of the float build in them: of the ONNX graph or, of a backend that takes the model, of its
        own fp32 artifact.
        """


@runtime_checkable
class TellsPlainLoad(Protocol):
    """A backend that knows what its runtime makes of an artifact that is loaded without any settings."""

    def plain_load(self, path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
        """What such a load computes, and what to set for what was proved with `settings`.

        Args:
            proved: types that products compute in with `settings` on this machine, as `dtype_stats` counted them.
        """


@runtime_checkable
class LintsArtifacts(Protocol):
    """A backend with rules for what it saved, beside those of its ONNX graph or PyTorch module."""

    def is_artifact(self, path: Path) -> bool:
        """Whether a file or directory is of the kind that `lint_artifact` reads; it may be nobody's bundle."""

    def lint_artifact(self, path: Path) -> tuple[Finding, ...]:
        """Findings in a saved artifact."""
