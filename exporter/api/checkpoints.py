"""Verbs on a checkpoint: what it holds, what will go wrong with it, and the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from slide_export.core.preprocessing import PreprocessingOptions, written

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.checkpoint.variants import Entry
    from slide_export.core.model import Inspection, Model
    from slide_export.linter import Finding


def inspect(
    checkpoint: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    weights_key: str | None = None,
    values: Mapping[str, str] | None = None,
    **preprocessing: Unpack[PreprocessingOptions],
) -> Inspection:
    """Tell what a checkpoint holds: format, variant, sizes, parameters, multiply-adds, drift, what was assumed.

    A head may be missing. `values` and `preprocessing` say what no file tells; see `ExportOptions`.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model.
    """
    from slide_export.checkpoint import load
    from slide_export.checkpoint.inspect import inspect_model

    model = load.load_checkpoint(
        checkpoint,
        variant=variant,
        weights=weights,
        input_size=input_size,
        weights_key=weights_key,
        values=values or {},
        preprocessing=written(preprocessing),
        headless=True,
    )
    return inspect_model(model)


def lint(
    subject: Path | str | Model | nn.Module, targets: Sequence[str] = (), *, example: Tensor | None = None
) -> tuple[Finding, ...]:
    """List what will fail, run badly or could run faster on which target, worst first.

    Args:
        subject: a checkpoint, an `.onnx` file, an `.mlpackage`, a bundle, a loaded model, or any PyTorch module.
        targets: names of `targets()`; none takes all.
        example: an input, where the subject is a bare module.

    Raises:
        SlideExportError: the subject is none of these, or a target does not exist.
    """
    from slide_export import linter

    return linter.lint(subject, targets, example=example)


def variants(family: str | None = None) -> tuple[Entry, ...]:
    """The zoo: each variant's size, cost, published figures and the targets it was proved on.

    Args:
        family: its name; None takes all.

    Raises:
        RequestError: there is no such family.
    """
    from slide_export.checkpoint.variants import catalogue

    return catalogue(family)


def load_checkpoint(
    path: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    weights_key: str | None = None,
    values: Mapping[str, str] | None = None,
    features: bool = False,
    **preprocessing: Unpack[PreprocessingOptions],
) -> Model:
    """Load the trained model in a checkpoint, in eval mode; see `slide_export.checkpoint.load.load_checkpoint`."""
    from slide_export.checkpoint import load as checkpoint

    return checkpoint.load_checkpoint(
        path,
        variant=variant,
        weights=weights,
        input_size=input_size,
        weights_key=weights_key,
        values=values or {},
        preprocessing=written(preprocessing),
        features=features,
    )
