"""The verbs of the command line as functions of the same names. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .errors import RequestError
from .types import Availability, Bundle, Inspection, Interface, Model, ParityReport, Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.calibration.accuracy import AccuracyGoal, AccuracyReport

    from .demonstration import DemoRow
    from .diagnosis import Diagnosis
    from .every_target import TargetResult
    from .linter import Finding
    from .pipeline import Step


class ExportOptions(TypedDict, total=False):
    """What an export can be told; each is an option of the command line, and a field of `Recipe` or `Interface`.

    Attributes:
        precision: "fp32", "fp16", "int8", "w8" (8-bit weights alone) or "mixed", where the target has it.
        out: directory that receives the bundle; "exported".
        name: of the bundle; the checkpoint's file name.
        overwrite: replace a bundle of the same name.
        variant: a model's name; recognised from the file.
        weights: "raw" or "ema".
        input_size: rows and columns; the trained size.
        lowering: a form of slide attention, or "auto".
        images: real images for proof and calibration, a folder, zip, npz or CSV list; the bundled photographs.
        image_count: how many of them the proof takes at most; 8.
        calibration_size: how many of them int8 is calibrated on at most; 300.
        seed: draws them; 0.
        quantization_recipe: a YAML file of what is quantized; the target's own.
        options: what the target alone understands; `targets()` lists them.
        batch: a fixed batch size; dynamic.
        embed_preprocessing: take uint8 [B, H, W, 3] RGB instead of normalised float32 [B, 3, H, W].
        softmax: return probabilities instead of logits.
        features: return the four stage maps instead of logits.
        labels: class names.
        evaluation: directory of class folders, directory without, or CSV list of file,label, for the accuracy gate.
        max_drop: points of top-1 that the artifact may lose there; 1.
        min_sqnr_db: what its outputs must reach where the images have no classes; 20.
        keep_fp32: PyTorch modules that stay in float, with all that is in them.
        mixed_base: "int8" or "fp16": what `precision="mixed"` mixes with float; int8.
    """

    precision: str
    out: Path | str
    name: str | None
    overwrite: bool
    variant: str | None
    weights: str
    input_size: tuple[int, int] | None
    lowering: str
    images: Path | str | None
    image_count: int
    calibration_size: int
    seed: int
    quantization_recipe: Path | str | None
    options: Mapping[str, str]
    batch: int | None
    embed_preprocessing: bool
    softmax: bool
    features: bool
    labels: Sequence[str]
    evaluation: Path | str | None
    max_drop: float | None
    min_sqnr_db: float | None
    keep_fp32: Sequence[str]
    mixed_base: str


def export(
    checkpoint: Path | str, target: str = "onnx", *, step: Step | None = None, **options: Unpack[ExportOptions]
) -> Bundle:
    """Returns the proved bundle of a checkpoint, written to `out/NAME-TARGET-PRECISION/`.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        target: a name of `targets()`.
        step: told of each stage; see `slide_export.pipeline.Step`.
        options: see `ExportOptions`.

    Raises:
        GateError: the artifact is not the model, or not in the precision asked for; it is kept as `*.rejected`.
        SlideExportError: the request, the checkpoint or the machine does not allow it.
    """
    from .mixed import export as run
    from .pipeline import quiet

    return run(_recipe(checkpoint, target, options), step or quiet)


def export_all(
    checkpoint: Path | str,
    targets: Sequence[str] | None = None,
    *,
    timeout_s: float = 900.0,
    jobs: int = 2,
    step: Step | None = None,
    **options: Unpack[ExportOptions],
) -> tuple[TargetResult, ...]:
    """Returns how the export to each target ended, each in a process of its own.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        targets: names of `targets()`; None takes all.
        timeout_s: for one target.
        jobs: how many targets at a time.
        step: told of each target.
        options: see `ExportOptions`; `options` goes to the targets that know it.
    """
    from . import backends
    from .every_target import run_each
    from .pipeline import quiet

    return run_each(_recipe(checkpoint, "all", options), targets or backends.names(), timeout_s, jobs, step or quiet)


def _recipe(checkpoint: Path | str, target: str, options: ExportOptions) -> Recipe:
    given: dict[str, Any] = dict(options)
    own = {field.name for field in fields(Interface)}
    facing = {name: value for name, value in given.items() if name in own}
    facing["labels"] = tuple(facing.get("labels", ()))
    rest = {name: value for name, value in given.items() if name not in own}
    asked = {name: rest.pop(name, None) for name in ("evaluation", "max_drop", "min_sqnr_db")}
    rest["accuracy"] = _goal(**asked)
    rest["keep_fp32"] = tuple(rest.get("keep_fp32", ()))
    for name in ("out", "images", "quantization_recipe"):
        if rest.get(name) is not None:
            rest[name] = Path(rest[name])
    return Recipe(Path(checkpoint), target, interface=Interface(**facing), **rest)


def _goal(evaluation: Path | str | None, max_drop: float | None, min_sqnr_db: float | None) -> AccuracyGoal | None:
    limits = {"max_drop": max_drop, "min_sqnr_db": min_sqnr_db}
    given = {name: value for name, value in limits.items() if value is not None}
    if evaluation is None:
        if given:
            raise RequestError("expected evaluation images (--eval) to measure an accuracy on, found a limit alone")
        return None
    from slide_export.calibration.accuracy import AccuracyGoal

    return AccuracyGoal(Path(evaluation), **given)


def inspect(
    checkpoint: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
) -> Inspection:
    """Returns what a checkpoint holds: variant, sizes, parameters, multiply-adds, drift of the shift path.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model.
    """
    from .inspection import inspect_model

    return inspect_model(load_checkpoint(checkpoint, variant=variant, weights=weights, input_size=input_size))


def lint(
    subject: Path | str | Model | nn.Module, targets: Sequence[str] = (), *, example: Tensor | None = None
) -> tuple[Finding, ...]:
    """Returns what will fail, run badly or could run faster on which target, worst first.

    Args:
        subject: a checkpoint, an `.onnx` file, an `.mlpackage`, a bundle, a loaded model, or any PyTorch module.
        targets: names of `targets()`; none takes all.
        example: an input, where the subject is a bare module.

    Raises:
        SlideExportError: the subject is none of these, or a target does not exist.
    """
    from . import linter

    return linter.lint(subject, targets, example=example)


def verify(bundle: Path | str, against: Path | str | None = None, *, step: Step | None = None) -> ParityReport:
    """Returns a fresh proof of a bundle from its golden file alone, or with the reference derived from `against` anew.

    Raises:
        BundleError: the bundle is incomplete or altered.
        ParityError: the artifact is not the model.
    """
    from . import verification
    from .pipeline import quiet

    return verification.verify(Path(bundle), None if against is None else Path(against), step or quiet)


def measure_accuracy(
    bundle: Path | str,
    against: Path | str,
    evaluation: Path | str,
    *,
    max_drop: float | None = None,
    min_sqnr_db: float | None = None,
    step: Step | None = None,
) -> AccuracyReport:
    """Returns what a bundle loses to its checkpoint on evaluation images; see `ExportOptions` for the limits.

    Raises:
        CalibrationError: the images or their classes are not fit for the model.
        AccuracyError: it loses more than was allowed.
    """
    from . import verification
    from .pipeline import quiet

    goal = _goal(evaluation, max_drop, min_sqnr_db)
    if goal is None:
        raise RequestError("expected evaluation images, found None")
    return verification.measure_accuracy(Path(bundle), Path(against), goal, step or quiet)


def diagnose(bundle: Path | str, against: Path | str, *, step: Step | None = None) -> Diagnosis:
    """Returns where a bundle's artifact leaves the trained model, module by module, and the module to blame.

    Args:
        against: the checkpoint: a bundle holds the trained model's outputs, not what is inside it.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        LoweringError: the artifact shows none of the model's modules.
    """
    from . import diagnosis
    from .pipeline import quiet

    return diagnosis.diagnose(Path(bundle), Path(against), step or quiet)


def targets() -> tuple[Availability, ...]:
    """Returns what each target can do on this machine."""
    from . import backends

    return tuple(backends.availability(name) for name in backends.names())


def demo(out: Path | str = "exported", *, step: Step | None = None) -> tuple[DemoRow, ...]:
    """Returns the held-out accuracy of the bundled digits model, in PyTorch and as exported to each usable target."""
    from .demonstration import run_demo
    from .pipeline import quiet

    return run_demo(Path(out), step or quiet)


def load_checkpoint(
    path: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
) -> Model:
    """Returns the trained model in a checkpoint, in eval mode; see `slide_export.checkpoint.load_checkpoint`."""
    from . import checkpoint

    return checkpoint.load_checkpoint(path, variant=variant, weights=weights, input_size=input_size)
