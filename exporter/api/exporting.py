"""Verbs that make bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from slide_export.workflows.options import ExportOptions, refuse_no_process, request_of

if TYPE_CHECKING:
    from slide_export.bundle.store import Bundle
    from slide_export.core.progress import Progress
    from slide_export.workflows.all_targets import TargetResult
    from slide_export.workflows.demo import DemoRow


def export(
    checkpoint: Path | str,
    target: str | None = None,
    *,
    like: Path | str | Bundle | None = None,
    timeout_s: float | None = None,
    jobs: int = 1,
    step: Progress | None = None,
    **options: Unpack[ExportOptions],
) -> Bundle:
    """Make the proved bundle of a checkpoint, written to `out/NAME-TARGET-PRECISION/`.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        target: a name of `targets()`; without it that of `like`, or onnx.
        like: a bundle whose every option is taken, but for those that are given here; see `workflows.like`.
        timeout_s: for the preparation and again for the rest, in processes of their own; None sets no limit.
        jobs: processes that measure its accuracy, where there are images enough for several.
        step: told of each stage; see `slide_export.core.progress.Step`.
        options: see `ExportOptions`.

    Raises:
        GateError: the artifact is not the model, or not in the precision asked for; it is kept as `*.rejected`.
        TimeLimitError: it took longer than `timeout_s`; nothing of it is left.
        SlideExportError: the request, the checkpoint or the machine does not allow it.
    """
    from slide_export.core.progress import no_progress
    from slide_export.workflows.export import export as run

    if like is not None:
        from slide_export.workflows.like import options_like

        target, options = options_like(like, target, options)
    refuse_no_process(jobs)
    request = request_of(checkpoint, target or "onnx", options)
    if timeout_s is not None:
        from slide_export.workflows.all_targets import export_within

        return export_within(request, timeout_s, jobs, step or no_progress)
    return run(request, step or no_progress, jobs)


def export_all(
    checkpoint: Path | str,
    targets: Sequence[str] | None = None,
    *,
    like: Path | str | Bundle | None = None,
    timeout_s: float = 900.0,
    jobs: int = 2,
    step: Progress | None = None,
    **options: Unpack[ExportOptions],
) -> tuple[TargetResult, ...]:
    """Tell how the export to each target ended, each in a process of its own.

    Args:
        checkpoint: a `.pt`, `.pth` or `.safetensors` file.
        targets: names of `targets()`; None takes those that are installed, and ends with a result for each that is not.
        like: see `export`.
        timeout_s: for one target.
        jobs: how many processes at a time: targets first, several for the accuracy of each where there are fewer.
        step: told of each target.
        options: see `ExportOptions`; `options` goes to the targets that know it.
    """
    from slide_export.core.progress import no_progress
    from slide_export.workflows import all_targets

    if like is not None:
        from slide_export.workflows.like import options_like

        _, options = options_like(like, "all", options)
    request = request_of(checkpoint, "all", options)
    return all_targets.export_all(request, targets or None, timeout_s, jobs, step or no_progress)


def demo(out: Path | str = "exported", *, step: Progress | None = None) -> tuple[DemoRow, ...]:
    """Export the bundled digits model to each usable target and compare its held-out accuracy with PyTorch's."""
    from slide_export.core.progress import no_progress
    from slide_export.workflows.demo import run_demo

    return run_demo(Path(out), step or no_progress)
