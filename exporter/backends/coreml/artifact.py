"""ServedModel -> ML Program and the settings that a session is started with."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import LARGEST_BATCH, Artifact
from slide_export.core.errors import LoweringError, RequestError, option
from slide_export.core.graph import MAX_RANK, TensorSpec
from slide_export.core.precision import FP32
from slide_export.core.proof import BATCH_SIZES
from slide_export.core.text import foreign
from slide_export.inference.served import ServedModel

from .orders import by_order

if TYPE_CHECKING:
    from torch import nn

    from slide_export.mil import Package
    from slide_export.mil.convert import Form

OPTIONS: Mapping[str, Option] = {
    "deployment": Option("iOS16", "oldest system that has to run it", ("iOS16", "iOS17", "iOS18", "iOS26")),
    "input": Option("tensor", "an array, or a picture (RGB, one at a time)", ("tensor", "image")),
    "batches": Option(",".join(map(str, BATCH_SIZES)), "the batch sizes that a dynamic batch stands for"),
    "compute_units": Option("all", "what CoreML may use on macOS", ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")),
}
SLIDE_RANK = 4  # what our forms of slide attention promise


def lower(source: ServedModel, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.mlpackage`: the same bytes for the same model.

    Raises:
        RequestError: the options contradict each other.
        LoweringError: coremltools cannot convert the model, or the program breaks a rule of the Neural Engine.
    """
    from slide_export.mil import MilError, Package
    from slide_export.mil.convert import no_progress, save

    path = directory / "model.mlpackage"
    form = _form(source, options)
    try:
        modules = save(_entrance(source, options, form), path, form, _metadata(source, options), options.quantization)
        with no_progress():
            package = Package.read(path)
    except MilError as error:
        raise LoweringError(f"expected a model that CoreML can express: {error}") from error
    _check(package, modules, source)
    inputs, outputs = tuple(_input(form, name, options) for name in form.inputs), _outputs(package, form, options)
    return Artifact("coreml", options.precision, path, inputs, outputs, _settings(form, options))


def _settings(form: Form, options: LoweringOptions) -> dict[str, Any]:
    """Settings of a session: how to predict, how to evaluate, and what it is fed."""
    return {
        "compute_units": options.options["compute_units"].upper(),
        "mode": "float32" if options.precision == FP32 else "typed",
        "bytes": options.interface.embed_preprocessing,  # whether the feeds may be uint8
        "labels": list(form.labels),  # of a classifier, in the order of the head's outputs
    }


def _form(source: ServedModel, options: LoweringOptions) -> Form:
    """What the package is to look like from outside, and how it is to compute.

    Raises:
        RequestError: image input without embedded preprocessing or for a batch, a classifier with equal labels.
    """
    from slide_export.mil.convert import Form
    from slide_export.models.sorting import sortings

    interface, image = options.interface, options.options["input"] == "image"
    rows, cols = source.trained.image_size
    if image and not interface.embed_preprocessing:
        raise RequestError("expected input=image with embedded preprocessing: a picture is 0..255, not normalised")
    if image and interface.batch not in (None, 1):
        raise RequestError(
            f"expected input=image with batch 1 or none, found {interface.batch}: a picture is one image"
        )
    batches = (1,) if image else (interface.batch,) if interface.batch else _batches(options.options["batches"])
    if len(source.input_names) > 1 and len(batches) > 1:
        raise RequestError(
            f"coreml takes {len(source.input_names)} inputs at one batch size, found {', '.join(map(str, batches))}: "
            f"name one with {option('batch')}"
        )
    channels_last = interface.embed_preprocessing and not image
    # CoreML's classifiers answer for one image with a dictionary, so only one-image packages can be one.
    labels = interface.labels if image and interface.softmax else ()
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise RequestError(
            f"expected a label of its own for each class of a classifier, found {repeated[0]!r} twice: "
            f"give others ({option('labels')})"
        )
    return Form(
        inputs=source.input_names,
        shape=(rows, cols, 3) if channels_last else (3, rows, cols),
        batches=batches,
        image=image,
        outputs=source.output_names,
        labels=labels,
        precision="fp32" if options.precision == FP32 else "fp16",  # w8: what the Neural Engine computes in
        deployment=options.options["deployment"],
        kept=tuple(sortings(source.module)),
        whole=source.task.classes(source.io),
    )


def _batches(text: str) -> tuple[int, ...]:
    """Batch sizes in ascending order.

    Raises:
        RequestError: the text is no list of them, or 1 is not among them.
    """
    written = re.fullmatch(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*", text)
    sizes = {int(part) for part in text.split(",")} if written else set()
    if 1 not in sizes or max(sizes) > LARGEST_BATCH:  # any number of images can then be cut into permitted batches
        raise RequestError(
            f"expected batches such as 1,2,3,8, with 1 among them and none above {LARGEST_BATCH}; "
            f"found {foreign(text)!r}"
        )
    return tuple(sorted(sizes))


def _entrance(source: ServedModel, options: LoweringOptions, form: Form) -> nn.Module:
    """The module to trace; a picture comes as [1, 3, H, W] of 0..255, which `ExportWrapper` takes as [1, H, W, 3].

    The normalisation is the module's own: an `ImageType` has one scale for three channels.
    """
    from torch import Tensor

    from slide_export.inference.export_wrapper import ExportWrapper

    class Picture(ExportWrapper):
        """Wrapper of a picture as Core ML feeds it: [1, 3, H, W] in place of [1, H, W, 3]."""

        def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
            """Move the channels last, then as `ExportWrapper`: [1, 3, H, W] -> outputs by position."""
            return super().forward(*(image.permute(0, 2, 3, 1) for image in images))

    return (Picture if form.image else ExportWrapper)(source.module, source.trained.data, source.io, source.task).eval()


def _metadata(source: ServedModel, options: LoweringOptions) -> dict[str, str]:
    """Metadata that a user of the bare package needs; nothing that changes from run to run."""
    model, interface = source.trained, options.interface
    metadata = {
        "description": f"{model.variant} ({source.form}, {options.precision}), exported from PyTorch",
        "variant": model.variant,
        "lowering": source.form,
        "mean": json.dumps(model.data.mean, allow_nan=False),
        "std": json.dumps(model.data.std, allow_nan=False),
        "preprocessing": "embedded" if interface.embed_preprocessing else "caller",
    }
    return metadata | ({"labels": json.dumps(interface.labels, allow_nan=False)} if interface.labels else {})


def _check(package: Package, modules: Mapping[str, str], source: ServedModel) -> None:
    """Check the saved program: no gather but by an order that it sorts, rank 5 at most, 4 in slide attention.

    Raises:
        LoweringError: names the first operation that breaks a rule.
    """
    from slide_export.models.slide_attention import SlideAttention

    named = source.trained.module.named_modules()
    slides = tuple(f"{name}." for name, module in named if isinstance(module, SlideAttention))
    arranged = by_order(package)
    for operation in package.operations():
        module = modules.get(operation.name, "")
        limit = SLIDE_RANK if f"{module}.".startswith(slides) else MAX_RANK
        rank = max((len(output.type.shape) for output in operation.outputs), default=0)
        if operation.type.startswith("gather") and operation.name not in arranged:
            raise LoweringError(
                f"expected a program without gathers, found {operation} in {module}: use slices instead"
            )
        if rank > limit:
            raise LoweringError(
                f"expected tensors of rank {limit} or less, {operation} in {module} makes one of {rank}"
            )


def _input(form: Form, name: str, options: LoweringOptions) -> TensorSpec:
    """The input that `Session` is fed: a picture as uint8 [B, H, W, 3], else the package's own input."""
    batch = options.interface.batch or "batch"
    if form.image:
        return TensorSpec(name, "uint8", (batch, *form.shape[1:], 3))
    return TensorSpec(name, "float32", (batch, *form.shape))


def _outputs(package: Package, form: Form, options: LoweringOptions) -> tuple[TensorSpec, ...]:
    types = {output.name: output.type for operation in package.operations() for output in operation.outputs}
    shapes = {name: (1, len(form.labels)) if form.labels else types[name].shape for name in form.outputs}
    batch = options.interface.batch or "batch"
    return tuple(
        TensorSpec(name, form.kind(name).__name__, (batch, *(size or "" for size in shape[1:])))
        for name, shape in shapes.items()
    )
