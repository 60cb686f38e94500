"""Model, Artifact -> ParityReport: is the artifact the trained model, as far as its precision can tell?

The reference is the trained, unfused PyTorch model in float64. PyTorch at the artifact's precision differs from it by a
noise floor that depends on the model and the images, so the tolerance is a multiple of that floor and no constant.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slide_export.backends.interface import Session
from slide_export.calibration.images import ImageSet, read
from slide_export.calibration.preprocess import normalise
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Array, Feeds, ModelIO, Outputs
from slide_export.core.model import Model
from slide_export.core.proof import BATCH_SIZES, Acceptance, Flip, OutputParity, ParityReport, Reference
from slide_export.inference.serve import ExportWrapper

from .fake_quant import simulated
from .rounded import at_precision

MULTIPLE = 8.0
"""Accepted error over the noise floor. A runtime adds the same terms in another order with other kernels, so its error
is a small multiple of the floor, the same for every model: seen are 0.4 to 1.2 (CoreML, ONNX Runtime) and 1.8 to 3.3
(OpenVINO, whose matrix products add long sums one by one). One weight off by a percent gives dozens to thousands."""

QUANTIZED_MULTIPLE = 4.0
"""The same where the floor is the error of a simulated quantization: both round to grids of the same step."""

SMALLEST_FLOOR = float(np.finfo(np.float32).eps)
"""Of the largest reference value: below this, float32 cannot store a difference."""


def accepted(recipe: QuantizationRecipe | None) -> Acceptance:
    """Returns what a proof accepts of an artifact that is quantized in this way, or not at all (None)."""
    if recipe is None:
        return Acceptance(MULTIPLE)
    return Acceptance(QUANTIZED_MULTIPLE, recipe.min_sqnr_db, recipe.min_top1)


def reference(
    model: Model,
    images: ImageSet,
    interface: ModelIO,
    precision: str = "fp32",
    recipe: QuantizationRecipe | None = None,
    keep: Sequence[str] = (),
) -> Reference:
    """Returns the trained model's outputs for real images, in float64 and at the artifact's precision.

    Args:
        recipe: how it is quantized, None where it is not.
        keep: modules that stay in float where it is not.

    Raises:
        CalibrationError: an image cannot be decoded; `images.readable` leaves such images out.
    """
    pictures = read(images.files, model.data, model.image_size)
    fed: Array = pictures if interface.embed_preprocessing else normalise(pictures, model.data)
    blank = Reference(images.source, images.names(), {interface.input_name: fed}, {}, {})
    return rerun(model, blank, interface, precision, recipe, keep)


def rerun(
    model: Model,
    reference: Reference,
    interface: ModelIO,
    precision: str = "fp32",
    recipe: QuantizationRecipe | None = None,
    keep: Sequence[str] = (),
) -> Reference:
    """Returns `reference` with its outputs computed anew by the trained model, from the same feeds."""
    fed = reference.feeds[interface.input_name]
    serving = ExportWrapper(model.module, model.data, interface).eval()
    single: nn.Module = serving
    if recipe is not None:
        single = simulated(serving, recipe, _one_by_one(fed, interface, torch.float32))
    elif precision != "fp32":
        single = at_precision(serving, precision, keep)
    rounded = _outputs(single, fed, interface, torch.float32)
    exact = _outputs(copy.deepcopy(serving).double(), fed, interface, torch.float64)
    return replace(reference, exact=exact, rounded=rounded)


def _outputs(serving: nn.Module, fed: Array, interface: ModelIO, dtype: torch.dtype) -> Outputs:
    """Runs image by image: one image's activations in memory at a time."""
    with torch.inference_mode():
        rows = [serving(image) for image in _one_by_one(fed, interface, dtype)]
    joined = (torch.cat(column).numpy() for column in zip(*rows, strict=True))
    return dict(zip(interface.output_names, joined, strict=True))


def _one_by_one(fed: Array, interface: ModelIO, dtype: torch.dtype) -> Iterator[Tensor]:
    for image in torch.from_numpy(fed).split(1):
        yield image if interface.embed_preprocessing else image.to(dtype)


def check(
    reference: Reference,
    session: Session,
    batch: int | None,
    *,
    classes: bool,
    accepted: Acceptance = Acceptance(MULTIPLE),  # noqa: B008  # frozen
) -> ParityReport:
    """Returns the verdict on an artifact, over every image and, where the batch is dynamic, every batch size.

    Args:
        batch: the artifact's fixed batch size, None for a dynamic one.
        classes: whether the outputs are scores of classes, so that top-1 means something.
        accepted: what passes.
    """
    count = len(reference.images)
    found: dict[str, list[Array]] = {name: [] for name in reference.exact}
    order: list[NDArray[np.intp]] = []
    for index in _batches(count, batch):
        outputs = session.run({name: value[index] for name, value in reference.feeds.items()})
        order.append(index)
        for name in found:
            found[name].append(outputs[name])
    picked = np.concatenate(order)
    merged = {name: np.concatenate(parts) for name, parts in found.items()}
    outputs_report = tuple(_compare(name, merged[name], reference, picked, accepted.multiple) for name in merged)
    top1, flips = _flips(reference, merged, picked) if classes else (None, ())
    return ParityReport(
        evaluator=session.evaluator,
        source=reference.source,
        images=count,
        batch_sizes=(batch,) if batch else BATCH_SIZES,
        outputs=outputs_report,
        top1=top1,
        flips=flips,
        accepted=accepted,
    )


def _batches(count: int, batch: int | None) -> Iterator[NDArray[np.intp]]:
    """Yields image indices: every checked batch size from the first image on, then the rest; short sets repeat."""
    sizes = (batch,) if batch else BATCH_SIZES
    for size in sizes:
        yield np.arange(size) % count
    for start in range(sizes[-1], count, sizes[-1]):
        yield np.arange(start, start + sizes[-1]) % count


def _compare(name: str, found: Array, reference: Reference, picked: NDArray[np.intp], multiple: float) -> OutputParity:
    exact = reference.exact[name].astype(np.float64)
    floor = np.abs(reference.rounded[name].astype(np.float64) - exact)
    smallest = SMALLEST_FLOOR * float(np.abs(exact).max())
    floor_max, floor_rms = max(float(floor.max()), smallest), max(_rms(floor), smallest / 4)
    expected = exact[picked]
    error = found.astype(np.float64) - expected
    return OutputParity(
        name=name,
        max_abs=float(np.abs(error).max()),
        mean_abs=float(np.abs(error).mean()),
        rms=_rms(error),
        floor_max=floor_max,
        floor_rms=floor_rms,
        limit_max=multiple * floor_max,
        limit_rms=multiple * floor_rms,
        sqnr_db=sqnr_db(expected, error),
        cosine=_cosine(found.astype(np.float64), expected),
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def sqnr_db(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Returns 10 log10(sum signal^2 / sum noise^2), infinite without noise."""
    power = float(np.square(noise).sum())
    return float(10 * np.log10(np.square(signal).sum() / power)) if power else float("inf")


def _cosine(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    a, b = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


def _flips(reference: Reference, found: Outputs, picked: NDArray[np.intp]) -> tuple[float, tuple[Flip, ...]]:
    """Returns the share of images, over every batch they were in, whose top class agrees, and those that do not."""
    (name,) = reference.exact
    exact, got = reference.exact[name][picked], found[name]
    expected, top = exact.argmax(axis=1), got.argmax(axis=1)
    ordered = np.sort(exact, axis=1)
    margins = ordered[:, -1] - ordered[:, -2] if exact.shape[1] > 1 else np.full(len(exact), np.inf)
    wrong = np.flatnonzero(expected != top)
    flips = {
        int(picked[row]): Flip(reference.images[picked[row]], int(expected[row]), int(top[row]), float(margins[row]))
        for row in wrong
    }
    return 1 - len(wrong) / len(picked), tuple(flips[index] for index in sorted(flips))


def subset(reference: Reference, count: int) -> Reference:
    """Returns the reference of the first `count` images: what a bundle carries as golden inputs and outputs."""

    def first(values: Feeds) -> Feeds:
        return {name: value[:count] for name, value in values.items()}

    return Reference(
        reference.source,
        reference.images[:count],
        first(reference.feeds),
        first(reference.exact),
        first(reference.rounded),
    )
