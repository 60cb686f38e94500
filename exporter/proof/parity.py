"""Model, Artifact -> ParityReport: is the artifact the trained model, as far as its precision can tell?

The reference is the trained, unfused PyTorch model in float64. PyTorch at the artifact's precision differs from it by a
noise floor that depends on the model and the images, so the tolerance is a multiple of that floor and no constant.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slide_export.backends.interface import Session
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Array, Outputs
from slide_export.core.precision import FP32, Precision
from slide_export.core.proof import BATCH_SIZES, Acceptance, Flip, OutputParity, ParityReport, Reference
from slide_export.core.task import answers

SMALLEST_FLOOR = float(np.finfo(np.float32).eps)
"""Of the largest reference value: below this, float32 cannot store a difference."""


def accepted(precision: Precision, recipe: QuantizationRecipe | None = None) -> Acceptance:
    """What a proof accepts in a precision: its own bounds, and beside them those of the recipe of a quantized one."""
    own = Acceptance(precision.tolerance_factor, least_db=precision.least_db, sure_margin=precision.sure_margin)
    return own if recipe is None else replace(own, min_sqnr_db=recipe.min_sqnr_db, min_top1=recipe.min_top1)


def check(
    reference: Reference,
    session: Session,
    batch: int | None,
    *,
    decision_axis: int | None,
    accepted: Acceptance = accepted(FP32),  # noqa: B008  # frozen
) -> ParityReport:
    """Judge an artifact over every image and, where the batch is dynamic, at every batch size.

    Args:
        batch: the artifact's fixed batch size, None for a dynamic one.
        decision_axis: of the first output, see `Task.decision_axis`.
        accepted: what passes.
    """
    count = len(reference.images)
    found: dict[str, list[Array]] = {name: [] for name in reference.exact}
    order: list[NDArray[np.intp]] = []
    for index in _batches(count, batch):
        outputs = session.run({name: value[index] for name, value in reference.feeds.items()})
        order.append(index)  # an image may be in several batches; each of its results is compared
        for name in found:
            found[name].append(outputs[name])
    picked = np.concatenate(order)
    merged = {name: np.concatenate(parts) for name, parts in found.items()}
    decided = reference.scores[0]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is refused, not warned of
        outputs_report = tuple(
            _compare(
                name, merged[name], reference, picked, accepted.multiple, decision_axis if name == decided else None
            )
            for name in reference.scores
        )
    top1, flips = _decided(reference, merged, picked, decision_axis)
    return ParityReport(
        evaluator=session.evaluator,
        source=reference.source,
        images=count,
        batch_sizes=(batch,) if batch else BATCH_SIZES,
        outputs=outputs_report,
        top1=top1,
        flips=flips,
        accepted=accepted,
        decisions=_decisions(reference, decision_axis),
        spread=None if decision_axis is None else _rms(centred(reference.exact[decided], decision_axis)),
    )


def _batches(count: int, batch: int | None) -> Iterator[NDArray[np.intp]]:
    """Batches of image indices: every checked size from the first image on, then the rest; short sets repeat.

    Given   5 images, sizes 1 and 2
    Result  [0], [0 1], [2 3], [4 0]
    """
    sizes = (batch,) if batch else BATCH_SIZES
    for size in sizes:  # each from image 0 on: the same images at every size, so that only batching differs
        yield np.arange(size) % count
    for start in range(sizes[-1], count, sizes[-1]):  # the rest in batches of the largest size
        yield np.arange(start, start + sizes[-1]) % count


def _compare(
    name: str, found: Array, reference: Reference, picked: NDArray[np.intp], multiple: float, axis: int | None
) -> OutputParity:
    exact = reference.exact[name].astype(np.float64)
    floor = np.abs(reference.rounded[name].astype(np.float64) - exact)
    smallest = SMALLEST_FLOOR * float(np.abs(exact).max())
    # An output that float32 holds exactly has a floor of 0, which no other kernel would meet.
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
        centred_db=sqnr_db(centred(exact, axis)[picked], error),
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def sqnr_db(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """10 log10(sum signal^2 / sum noise^2) in dB: infinite without noise, minus so without a signal beside it."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        power = float(np.square(noise).sum())
        return float(10 * np.log10(np.square(signal).sum() / power)) if power else float("inf")


def centred(exact: Array, axis: int | None) -> NDArray[np.float64]:
    """What of an output tells one answer from another: a constant that all its values share is no signal.

    scores [B, K] or [B, K, H, W], axis 1     each less the mean of its K: a shift of all of them decides nothing
    maps, axis None                           each value less the mean of all
    one value an image                        as it is: a threshold is all that can decide
    """
    values = exact.astype(np.float64)
    if values[0].size == 1 or (axis is not None and values.shape[axis] == 1):
        return values
    mean: NDArray[np.float64] = values.mean(axis=axis, keepdims=True)
    return values - mean


def _cosine(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    a, b = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


def _decisions(reference: Reference, axis: int | None) -> int:
    """Decisions an image: one, or one a pixel; 0 where nothing is decided."""
    if reference.margins:
        return sum(math.prod(margins.shape[1:]) for margins in reference.margins.values())
    if axis is None:
        return 0
    shape = next(iter(reference.exact.values())).shape
    return math.prod(size for index, size in enumerate(shape) if index not in (0, axis))


def _decided(
    reference: Reference, found: Outputs, picked: NDArray[np.intp], axis: int | None
) -> tuple[float | None, tuple[Flip, ...]]:
    """Share of equal decisions, over every batch that an image was in, and the image's worst flip where one differs.

    Outputs that are decisions already are compared with the truth's; else the largest scores are.
    """
    if reference.margins:
        (name,) = reference.margins
        expected, got = reference.exact[name][picked], found[name]
        return _flips(reference, picked, expected, got, reference.margins[name][picked])
    if axis is None:
        return None, ()
    name = next(iter(reference.exact))
    exact, scores = (answers(values, axis) for values in (reference.exact[name][picked], found[name]))
    return _flips(reference, picked, exact.argmax(axis=axis), scores.argmax(axis=axis), _margins(exact, axis))


def _margins(exact: Array, axis: int) -> Array:
    """The best score over the second best, of the reference."""
    ordered = np.sort(exact, axis=axis)
    margins: Array = np.take(ordered, -1, axis=axis) - np.take(ordered, -2, axis=axis)
    return margins


def _flips(
    reference: Reference, picked: NDArray[np.intp], expected: Array, top: Array, margins: Array
) -> tuple[float, tuple[Flip, ...]]:
    """Compare decisions.

    An image has one decision, or one at each position of the other axes:

        [B, K]         argmax over K          one an image
        [B, K, H, W]   argmax over K          one a pixel; the flip with the largest margin stands for the image

    Args:
        expected, top: decisions of the reference and of the artifact, [B] or [B, H, W].
        margins: how sure the reference is of each.
    """
    flips: dict[int, Flip] = {}
    # Argmax takes the first of equal scores on both sides, so equal outputs never flip.
    wrong = np.argwhere(expected != top)
    for position in map(tuple, wrong):
        index, margin = int(picked[position[0]]), float(margins[position])
        # The flip that rounding explains worst stands for the image.
        if index not in flips or margin >= flips[index].margin:
            where = reference.images[index] + (f" at {','.join(map(str, position[1:]))}" if position[1:] else "")
            flips[index] = Flip(where, int(expected[position]), int(top[position]), margin)
    return 1 - len(wrong) / expected.size, tuple(flips[index] for index in sorted(flips))
