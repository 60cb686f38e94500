"""ExportRequest -> Plan: every refusal that the request, names, places and installed packages decide.

Nothing is loaded, decoded or written here, and torch is not imported: a wrong word on the command line costs no time.
What needs the checkpoint is refused by `prepare`, as soon as its keys and shapes are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slide_export.backends import optional, registry
from slide_export.bundle import staging
from slide_export.calibration import recipe as recipes
from slide_export.calibration.images import ImageSet, bundled, find
from slide_export.calibration.quantization import NumericFormat
from slide_export.core import files
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError, option
from slide_export.core.precision import FP16, FP32, precision_named
from slide_export.core.preprocessing import refuse_size
from slide_export.core.request import CheckpointRequest, ExportRequest
from slide_export.inference.forms import NATIVE
from slide_export.native.library import refuse_no_compiler

if TYPE_CHECKING:
    from slide_export.backends.interface import Backend
    from slide_export.calibration.sensitivity import MixedSearch
    from slide_export.core.request import AccuracyGoal

MIXED = "mixed"
PORTABLE = "portable"
"""The bundle inside a bundle whose artifact needs a library of its own."""


@dataclass(frozen=True)
class SourceRequest:
    """What one checkpoint is prepared with: the same for every target and precision that it is exported to.

    Attributes:
        images: every image of the request, not decoded yet.
        image_count: how many of them the proof takes at most.
        keep_fp32: modules that the request names, which have to exist.
        form: as asked for; "auto" is each target's own.
        accuracy: None where none is measured.
    """

    checkpoint: CheckpointRequest
    io: ModelIO
    images: ImageSet
    image_count: int
    keep_fp32: tuple[str, ...] = ()
    form: str = "auto"
    accuracy: AccuracyGoal | None = None


@dataclass(frozen=True)
class CalibrationRequest:
    """How many images ranges are observed on, and the seed that draws them."""

    count: int
    seed: int


@dataclass(frozen=True)
class Destination:
    """Where a bundle goes.

    Attributes:
        folder: its directory's name in `out`; "" makes one of what follows.
    """

    out: Path
    name: str
    target: str
    precision: str
    overwrite: bool
    folder: str = ""

    @property
    def path(self) -> Path:
        """The bundle's directory."""
        return self.out / (self.folder or f"{self.name}-{self.target}-{self.precision}")


@dataclass(frozen=True)
class Plan:
    """A request that can be carried out, as far as can be told without its checkpoint.

    Attributes:
        numbers: precision, recipe and modules in float.
        options: every option of the backend, with the defaults filled in.
        tune: measure the forms first, and take the fastest.
        search: whether modules to keep in float are searched for, so that the rest may be in the precision.
        found: what the search found; None before, or without one.
        variant: as the request names it, for the manifest.
    """

    source: SourceRequest
    target: str
    numbers: NumericFormat
    options: Mapping[str, str]
    calibration: CalibrationRequest
    destination: Destination
    tune: bool = False
    search: bool = False
    found: MixedSearch | None = None

    @property
    def float_formats(self) -> tuple[NumericFormat, ...]:
        """The formats without a recipe that its proofs need: float32 and the artifact's own, alike for every target."""
        own = (self.numbers,) if self.numbers.recipe is None else ()
        return tuple(dict.fromkeys((NumericFormat(), *own)))

    def on_this_machine(self) -> Plan:
        """The plan with what this machine's CPU needs, which takes torch to tell."""
        return replace(self, numbers=self.numbers.on_this_machine())

    def protecting(self, modules: tuple[str, ...]) -> Plan:
        """The plan with a model's own modules in float32, where its graph computes in less.

        Args:
            modules: see `Model.float32`.
        """
        precision = self.numbers.precision
        new = tuple(one for one in modules if one not in self.source.keep_fp32)
        in_graph = registry.load(self.target).PRECISIONS[precision.name]
        if not new or not in_graph or precision != FP16:  # 8 bits are of layers with weights alone
            return self
        source = replace(self.source, keep_fp32=(*self.source.keep_fp32, *new))
        return replace(self, source=source, numbers=self.numbers.keeping(new))

    def portable(self, bundle: Path) -> Plan:
        """The plan of the bundle inside one whose artifact needs a library: the same in the target's own form."""
        source = replace(self.source, form="auto")
        return replace(self, source=source, destination=replace(self.destination, out=bundle, folder=PORTABLE))

    def keeping(self, found: MixedSearch) -> Plan:
        """The plan of the export that a search ends in."""
        source = replace(self.source, keep_fp32=(*self.source.keep_fp32, *found.kept))
        return replace(self, source=source, numbers=self.numbers.keeping(found.kept), search=False, found=found)


def resolve(request: ExportRequest) -> Plan:
    """Check a request and complete it.

    Raises:
        RequestError: it asks for something that does not exist, or contradicts itself.
        BackendUnavailable: the target's package is not installed here.
        BundleError: a bundle is in the way, or there can be none.
        WriteError: nothing can be written there.
        CalibrationError: there are no images where it says.
    """
    search = request.precision == MIXED
    precision = request.mixed_base if search else request.precision
    backend = registry.require_export(request.target, precision)
    optional.refuse_batch(backend, request.interface.batch)
    options = registry.complete_options(request.target, request.options)
    stem = name_of(request.checkpoint) if request.name is None else request.name
    name = f"{stem}-{MIXED}" if search else stem
    destination = Destination(request.out, name, request.target, precision, request.overwrite)
    files.refuse_not_utf8(request.checkpoint, "a checkpoint")
    staging.refuse_unusable(destination.path, stem)
    staging.refuse_existing(destination.path, overwrite=request.overwrite)
    numbers = numeric_format(request, precision, backend)
    _refuse_contradictions(request, backend, numbers, search=search)
    if NATIVE in request.form.split(","):
        _refuse_native(request, backend, options, numbers, search=search)
    refuse_size(request.input_size)
    if request.image_count < 1:
        raise RequestError(f"expected at least 1 image for the parity check, found {request.image_count}")
    return Plan(
        SourceRequest(
            request.source,
            request.interface,
            bundled() if request.images is None else find(request.images),
            request.image_count,
            request.keep_fp32,
            request.form,
            request.accuracy,
        ),
        request.target,
        numbers,
        options,
        CalibrationRequest(request.calibration_size, request.seed),
        destination,
        request.tune,
        search,
    )


def name_of(checkpoint: Path) -> str:
    """Name a bundle after a file without its ending, or after a folder."""
    return checkpoint.resolve().name if checkpoint.is_dir() else checkpoint.stem


def numeric_format(request: ExportRequest, name: str, backend: Backend) -> NumericFormat:
    """How the artifact is to compute.

    Raises:
        RequestError: a recipe is given for a float precision or is not sound, or images are lacking.
    """
    given, keep, precision = request.quantization_recipe, request.keep_fp32, precision_named(name)
    if not precision.quantized:
        if given is not None:
            raise RequestError(f"{option('quantization_recipe')} goes with int8 or w8, found it with {precision}")
        if keep and precision == FP32:
            raise RequestError(f"{option('keep_fp32')} goes with a smaller precision, found it with fp32")
        return NumericFormat(precision, None, keep)
    chosen = recipes.load(given, name) if given else recipes.default(request.target, name)
    if chosen.calibrated and request.images is None:
        raise RequestError(
            f"{precision} needs {option('images')}: activations are calibrated on pictures like those that the model "
            "will see, 100 to 500 of them; w8 needs none"
        )
    recipes.refuse_other_library(chosen, request.target, in_graph=backend.PRECISIONS[name])
    kept = tuple(dict.fromkeys((*chosen.keep_fp32, *keep)))
    return NumericFormat(precision, replace(chosen, keep_fp32=kept))


def _refuse_native(
    request: ExportRequest, backend: Backend, options: Mapping[str, str], numbers: NumericFormat, *, search: bool
) -> None:
    """Refuse form native where its operator cannot be loaded or built.

    Raises:
        RequestError: the target loads no operator of ours, or not in this precision.
        BackendUnavailable: there is no compiler, or nothing to build it against.
    """
    able = [name for name in registry.names() if optional.native_precisions(registry.load(name))]
    precisions = optional.native_precisions(backend)
    if not precisions:
        raise RequestError(
            f"expected a target that loads the operator of form {NATIVE}, {' or '.join(able)}; found {request.target}: "
            "take another form"
        )
    if search or numbers.precision.name not in precisions:
        found = MIXED if search else numbers.precision
        raise RequestError(
            f"expected a precision of {', '.join(precisions)} with form {NATIVE} for {request.target}, found {found}: "
            "take one of them, or another form"
        )
    refuse_no_compiler()
    optional.native_runtime(backend, options)


def _refuse_contradictions(request: ExportRequest, backend: Backend, numbers: NumericFormat, *, search: bool) -> None:
    precision, target = numbers.precision, request.target
    in_graph = backend.PRECISIONS[precision.name]
    if search and not in_graph:
        able = [name for name in registry.names() if registry.load(name).PRECISIONS.get(precision.name)]
        raise RequestError(
            f"expected a target whose graph carries {precision} to mix it with float, {', '.join(able)}; found {target}"
        )
    if search and request.tune:
        raise RequestError(
            f"expected mixed precision or {option('tune')}, found both: tune first, and name the form that it found"
        )
    if request.interface.nms and not optional.suppresses(backend):
        able = [name for name in registry.names() if optional.suppresses(registry.load(name))]
        raise RequestError(
            f"{option('nms')} is not available for {target}, which runs no NonMaxSuppression: take "
            f"{' or '.join(able)}, or choose among its boxes outside"
        )
    if numbers.keep and not in_graph:
        raise RequestError(
            f"{option('keep_fp32')} is not available for {target} {precision}: its graph does not carry {precision}"
        )
    if request.tune and request.form != "auto":
        raise RequestError(
            f"expected {option('tune')} or {option('form')}, found both: leave out {option('form')} {request.form}"
        )
