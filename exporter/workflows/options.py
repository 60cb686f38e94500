"""What an export can be told, and the recipe of it. Importing this file imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError, option
from slide_export.core.precision import PRECISIONS
from slide_export.core.preprocessing import EXPECTED, PreprocessingOptions, written
from slide_export.core.request import ExportRequest

if TYPE_CHECKING:
    from slide_export.core.request import AccuracyGoal
    from slide_export.core.task import Task
    from slide_export.models import Family

UNTOLD = ("calibration_size", "seed", "mixed_base")
"""Options of an export whose None says nothing."""


class ExportOptions(PreprocessingOptions, total=False):
    """What an export can be told; each is an option of the command line, and a field of `Recipe` or `Interface`.

    Attributes:
        precision: "fp32", "fp16", "bf16", "int8", "w8" (8-bit weights alone) or "mixed", where the target has it.
        out: directory that receives the bundle; "exported".
        name: of the bundle; the checkpoint's file name.
        overwrite: replace a bundle of the same name.
        variant: a model's name; recognised from the file.
        weights: "raw" or "ema".
        weights_key: where in the checkpoint they are, where it holds several sets; found without it.
        input_size: rows and columns; the trained size.
        mean, std: of RGB in 0..1, three numbers each; what the checkpoint tells, or an assumption that is said aloud.
        resize: the short side before the crop, or both sides; like the next two, as the checkpoint tells.
        crop: rows and columns of the centre crop, where `resize` goes with another one than the input.
        interpolation: "bicubic" or "bilinear".
        form: a form of slide attention, one for each stage that slides with commas between, or "auto".
        tune: measure every form on this machine, stage by stage, and take the fastest; remembered.
        images: real images for proof and calibration, a folder, zip, npz or CSV list; the bundled photographs.
        image_count: how many of them the proof takes at most; 8.
        calibration_size: how many of them int8 is calibrated on at most; 300. Like the next, refused where unused.
        seed: draws them, and the images of a mixed search; 0.
        quantization_recipe: a YAML file of what is quantized; the target's own.
        options: what the target alone understands; `targets()` lists them.
        batch: a fixed batch size; dynamic.
        embed_preprocessing: take uint8 [B, H, W, 3] RGB instead of normalised float32 [B, 3, H, W].
        softmax: return probabilities instead of logits.
        features: return the maps of the stages instead of logits.
        output: which of the task's outputs; its default.
        nms: choose a detector's best boxes inside, where the target runs that.
        labels: class names.
        evaluation: directory of class folders, directory without, or CSV list of file,label, for the accuracy gate;
            of a task with truths their folders or list.
        max_drop: points of top-1 that the artifact may lose there; 1. Where the task has another figure, in its unit.
        min_sqnr_db: what its outputs must reach there; 20 where the images have no classes.
        keep_fp32: PyTorch modules that stay in float, with all that is in them.
        values: what no file tells, by the names that the family declares and `inspect` lists.
        families, tasks: of your own, in the place of those of slide_export; see `Family` and `Task`.
        mixed_base: "int8" or "fp16": what `precision="mixed"` mixes with float; int8.
    """

    precision: str
    out: Path | str
    name: str | None
    overwrite: bool
    variant: str | None
    weights: str
    weights_key: str | None
    input_size: tuple[int, int] | None
    form: str
    tune: bool
    images: Path | str | None
    image_count: int
    calibration_size: int | None
    seed: int | None
    quantization_recipe: Path | str | None
    options: Mapping[str, str]
    batch: int | None
    embed_preprocessing: bool
    softmax: bool
    features: bool
    output: str
    nms: bool
    labels: Sequence[str]
    evaluation: Path | str | None
    max_drop: float | None
    min_sqnr_db: float | None
    keep_fp32: Sequence[str]
    values: Mapping[str, str]
    families: Sequence[Family]
    tasks: Sequence[Task]
    mixed_base: str | None


def request_of(checkpoint: Path | str, target: str, options: ExportOptions) -> ExportRequest:
    """The request that options make.

    Raises:
        RequestError: an option that nothing of it uses.
    """
    refuse_unknown(options)
    given: dict[str, Any] = {name: value for name, value in options.items() if name not in UNTOLD or value is not None}
    _refuse_unused(given)
    own = {field.name for field in fields(ModelIO)}
    facing = {name: value for name, value in given.items() if name in own}
    facing["labels"] = tuple(facing.get("labels", ()))
    rest = {name: value for name, value in given.items() if name not in own}
    asked = {name: rest.pop(name, None) for name in ("evaluation", "max_drop", "min_sqnr_db")}
    rest["accuracy"] = goal_of(**asked)
    rest["values"] = dict(rest.get("values", {}))
    rest["preprocessing"] = written({name: rest.pop(name, None) for name in EXPECTED})
    rest["keep_fp32"] = tuple(rest.get("keep_fp32", ()))
    for name in ("families", "tasks"):
        rest[name] = tuple(rest.get(name, ()))
    for name in ("out", "images", "quantization_recipe"):
        if rest.get(name) is not None:
            rest[name] = Path(rest[name])
    return ExportRequest(Path(checkpoint), target, interface=ModelIO(**facing), **rest)


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Refuse an option that does not exist, with the one that was perhaps meant.

    Raises:
        RequestError: there is no such option.
    """
    known = sorted(ExportOptions.__annotations__, key=EXPECTED.__contains__)  # those of preprocessing last
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"the options are {', '.join(known)}"
            raise RequestError(f"expected an option of an export, found {name!r}: {advice}")


def _refuse_unused(given: Mapping[str, Any]) -> None:
    """Refuse what an export in a precision has no use for."""
    precision = given.get("precision", "fp32")
    mixed = precision == "mixed"
    reduced = given.get("mixed_base", "int8") if mixed else precision
    calibrated = reduced in PRECISIONS and PRECISIONS[reduced].calibrated
    used = {
        "calibration_size": ("int8", calibrated),
        "seed": ("int8 or mixed", calibrated or mixed),
        "mixed_base": (f"{option('precision')} mixed", mixed),
    }
    for name, (where, useful) in used.items():
        if name in given and not useful:
            raise RequestError(f"expected {option(name)} with {where}, found it with {precision}: leave it out")


def goal_of(evaluation: Path | str | None, max_drop: float | None, min_sqnr_db: float | None) -> AccuracyGoal | None:
    """What is asked of the accuracy, None where no images are given to measure it on.

    Raises:
        RequestError: a limit without images.
    """
    limits = {"max_drop": max_drop, "min_sqnr_db": min_sqnr_db}
    given = {name: value for name, value in limits.items() if value is not None}
    if evaluation is None:
        if given:
            raise RequestError("expected evaluation images to measure an accuracy on, found a limit alone")
        return None
    from slide_export.core.request import AccuracyGoal

    return AccuracyGoal(Path(evaluation), **given)


def refuse_no_process(jobs: int) -> None:
    """Refuse a number of processes that could do nothing.

    Raises:
        RequestError: it is below 1.
    """
    if jobs < 1:
        raise RequestError(f"expected at least 1 process for {option('jobs')}, found {jobs}")
