"""A checkpoint and what becomes of it: export, inspect, lint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from slide_export import api
from slide_export.core import typed_json
from slide_export.inference.forms import FORMS, SAMPLINGS

from .options import (
    CHECKPOINT,
    DIRECTORY,
    FILE,
    IMAGES,
    as_json,
    evaluation,
    input_size,
    max_drop,
    min_sqnr,
    preprocessing,
    read_pairs,
    refuse_old_form,
    values,
    variant,
    weights,
    weights_key,
)

if TYPE_CHECKING:
    from slide_export.workflows.all_targets import TargetResult


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--target", default="onnx", show_default=True, metavar="NAME", help="See `targets`; `all` takes each.")
@click.option(
    "--like", type=DIRECTORY, metavar="BUNDLE", help="Take every option from this bundle, but for those given here."
)
@click.option(
    "--precision", default="fp32", show_default=True, metavar="NAME", help="One that the target has, or mixed."
)
@click.option("--out", type=DIRECTORY, default=Path("exported"), show_default=True, help="Directory for the bundle.")
@click.option("--name", help="Name of the bundle; the checkpoint's file name without it.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle of the same name.")
@variant
@weights
@weights_key
@values
@input_size
@preprocessing
@click.option(
    "--form",
    default="auto",
    show_default=True,
    metavar="NAME[,NAME]",
    help=f"Form of slide attention, or one for each stage that slides: {', '.join(('auto', *FORMS))}. "
    f"Of DAT's deformable attention: {', '.join(('auto', *SAMPLINGS))}.",
)
@click.option("--lowering", "old_form", hidden=True, expose_value=False, callback=refuse_old_form)
@click.option("--tune", is_flag=True, help="Measure every form on this machine and take the fastest.")
@click.option("--batch", type=click.IntRange(min=1), help="A fixed batch size; dynamic without it.")
@click.option("--embed-preprocessing", is_flag=True, help="Take uint8 [B, H, W, 3] RGB; normalise inside.")
@click.option("--softmax", is_flag=True, help="Return probabilities.")
@click.option("--features", is_flag=True, help="Return the maps of the stages (strides 4 to 32) instead of logits.")
@click.option(
    "--output",
    default="",
    metavar="NAME",
    help="Which output of its task: restored or noise; logits, resized or mask; boxes or raw.",
)
@click.option("--nms", is_flag=True, help="Choose a detector's best boxes inside, for onnx and openvino.")
@click.option("--labels", type=FILE, help="Text file of class names, one a line, for the metadata.")
@click.option("--images", type=IMAGES, help="Real images for proof and calibration: folder, zip, npz, CSV list.")
@click.option("--image-count", type=click.IntRange(min=1), default=8, show_default=True, help="How many at most.")
@evaluation
@max_drop
@min_sqnr
@click.option("--keep-fp32", multiple=True, metavar="MODULE", help="PyTorch module that stays in float; repeatable.")
@click.option(
    "--mixed-base",
    type=click.Choice(["int8", "fp16"]),
    help="What --precision mixed mixes with float; int8.",
)
@click.option("--calibration-size", type=click.IntRange(min=1), help="Images for int8 at most; 300.")
@click.option("--seed", type=int, help="Draws the calibration images; 0.")
@click.option("--quantization-recipe", type=FILE, help="YAML of what is quantized, as a bundle has it.")
@click.option("-o", "--option", "pairs", multiple=True, metavar="NAME=VALUE", help="What the target alone understands.")
@click.option("--trt-flavor", type=click.Choice(["tensorrt", "rtx"]), help="Short for --option flavor=NAME.")
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    help="Seconds to prepare, and for a target: 900 each for `all`, else no limit.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Processes at a time: targets of `all` first, the images of --eval with what is left.",
)
@as_json
def export(
    target: str,
    like: Path | None,
    labels: Path | None,
    pairs: tuple[str, ...],
    trt_flavor: str | None,
    timeout_s: float | None,
    jobs: int,
    as_json: bool,
    **options: Any,
) -> int:
    """Export a checkpoint and prove the artifact equal to it."""
    pairs += (f"flavor={trt_flavor}",) if trt_flavor else ()
    options |= {"labels": _read_labels(labels), "options": read_pairs(pairs)}
    if like is not None:
        target, options = _beside_like(like, target, options)
    if target == "all":
        return _export_all(as_json, options | {"jobs": jobs} | ({} if timeout_s is None else {"timeout_s": timeout_s}))
    from .console import Steps, show_export

    with Steps() as step:
        bundle = api.export(**options, target=target, timeout_s=timeout_s, jobs=jobs, step=step)
    if as_json:
        click.echo(bundle.manifest.to_json(), nl=False)
    else:
        show_export(bundle.manifest)
        click.echo(bundle.path)
    return 0


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@variant
@weights
@weights_key
@values
@input_size
@preprocessing
@as_json
def inspect(as_json: bool, checkpoint: Path, **options: Any) -> None:
    """Tell what is in a checkpoint: variant, sizes, parameters, multiply-adds, drift."""
    found = api.inspect(checkpoint, **options)
    if as_json:
        click.echo(typed_json.dumps(found, indent=2))
        return
    from .console import show_inspection

    show_inspection(found)


@click.command()
@click.argument("subject", type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, metavar="NAME", help="For which target; all without it.")
@as_json
def lint(subject: Path, targets: tuple[str, ...], as_json: bool) -> int:
    """Tell what would fail or run badly where: of a checkpoint, .onnx, .mlpackage or bundle. Exits 1 on an error."""
    found = api.lint(subject, targets)
    if as_json:
        click.echo(typed_json.dumps(found, indent=2))
    else:
        from .console import show_findings

        show_findings(subject, found)
    return int(any(finding.severity == "error" for finding in found))


def _beside_like(like: Path, target: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Keep what was typed, so that the bundle tells all else: an option's default says nothing beside it."""
    context = click.get_current_context()
    typed = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if typed & {"pairs", "trt_flavor"}:
        typed.add("options")
    kept = {name: value for name, value in options.items() if name in typed or name == "checkpoint"}
    return target if "target" in typed else None, {**kept, "like": like}


def _export_all(as_json: bool, options: dict[str, Any]) -> int:
    """Export to every target; the exit code is the worst of theirs."""
    from slide_export.workflows.all_targets import worst

    from .console import Steps, show_every_target

    with Steps() as step:
        results = api.export_all(**options, step=step)
    if as_json:
        click.echo(typed_json.dumps([_plain(result) for result in results], indent=2))
    else:
        show_every_target(results)
        click.echo("\n".join(str(result.bundle.path) for result in results if result.bundle))
    return worst(results)


def _plain(result: TargetResult) -> dict[str, Any]:
    """What happened to one target, ready for JSON."""
    from slide_export.bundle.manifest import to_plain

    bundle = result.bundle
    told = None if bundle is None else {"path": str(bundle.path), "manifest": to_plain(bundle.manifest)}
    error = result.error and {"kind": type(result.error).__name__}
    return {**vars(result), "message": result.on_command_line, "bundle": told, "error": error}


def _read_labels(path: Path | None) -> tuple[str, ...]:
    from slide_export.calibration.class_names import read_names

    return () if path is None else read_names(path)
