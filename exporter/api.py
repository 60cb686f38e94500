"""The verbs of the command line as functions of the same names. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .types import Availability, Bundle, Inspection, Interface, Model, ParityReport, Recipe

if TYPE_CHECKING:
    from .demonstration import DemoRow
    from .pipeline import Step


def export(
    checkpoint: Path | str,
    target: str = "onnx",
    *,
    precision: str = "fp32",
    out: Path | str = "exported",
    name: str | None = None,
    overwrite: bool = False,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    lowering: str = "auto",
    batch: int | None = None,
    embed_preprocessing: bool = False,
    softmax: bool = False,
    features: bool = False,
    labels: Sequence[str] = (),
    images: Path | str | None = None,
    image_count: int = 8,
    step: Step | None = None,
) -> Bundle:
    """Returns the proved bundle of a checkpoint, written to `out/NAME-TARGET-PRECISION/`.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        target: a name of `targets()`.
        precision: one that the target has.
        out: directory that receives the bundle.
        name: of the bundle; None takes the checkpoint's file name.
        overwrite: replace a bundle of the same name.
        variant: a model's name; None recognises it.
        weights: "raw" or "ema".
        input_size: rows and columns; None takes the trained size.
        lowering: a form of slide attention, or "auto".
        batch: a fixed batch size, or None for a dynamic one.
        embed_preprocessing: take uint8 [B, H, W, 3] RGB instead of normalised float32 [B, 3, H, W].
        softmax: return probabilities instead of logits.
        features: return the four stage maps instead of logits.
        labels: class names.
        images: directory of real images for the parity check; None takes the bundled photographs.
        image_count: how many of them at most.
        step: told of each stage; see `slide_export.pipeline.Step`.

    Raises:
        ParityError: the artifact is not the model; it is kept beside as `*.rejected`.
        SlideExportError: the request, the checkpoint or the machine does not allow it.
    """
    from .pipeline import quiet, run

    recipe = Recipe(
        checkpoint=Path(checkpoint),
        target=target,
        precision=precision,
        lowering=lowering,
        out=Path(out),
        name=name,
        overwrite=overwrite,
        variant=variant,
        weights=weights,
        input_size=input_size,
        images=None if images is None else Path(images),
        image_count=image_count,
        interface=Interface(batch, embed_preprocessing, softmax, features, tuple(labels)),
    )
    return run(recipe, step or quiet)


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


def verify(bundle: Path | str, against: Path | str | None = None, *, step: Step | None = None) -> ParityReport:
    """Returns a fresh proof of a bundle from its golden file alone, or with the reference derived from `against` anew.

    Raises:
        BundleError: the bundle is incomplete or altered.
        ParityError: the artifact is not the model.
    """
    from . import pipeline

    return pipeline.verify(Path(bundle), None if against is None else Path(against), step or pipeline.quiet)


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
