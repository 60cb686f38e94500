"""Model, Artifact -> ParityReport: is the artifact the trained model, as far as its precision can tell?

The reference is the trained, unfused PyTorch model in float64. PyTorch at the artifact's precision differs from it by a
noise floor that depends on the model and the images, so the tolerance is a multiple of that floor and no constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slide_export.backends.interface import Session
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Array, Outputs
from slide_export.core.precision import FP32, Precision
from slide_export.core.proof import Acceptance, Flip, OutputParity, ParityReport, Reference, RuleParity, batch_sizes
from slide_export.core.task import answers

from .order_summary import summary

if TYPE_CHECKING:
    from .ordering import Expected, Ordering

_Result: TypeAlias = "tuple[int, Outputs]"  # an image's number and its outputs, each [1, ...]

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
    ordering: Ordering | None = None,
) -> ParityReport:
    """Judge an artifact over every image and, where the batch is dynamic, at every batch size.

    Args:
        batch: the artifact's fixed batch size, None for a dynamic one.
        decision_axis: of the first output, see `Task.decision_axis`.
        accepted: what passes.
        ordering: of a model that sorts; the outputs are then compared with the reference under the artifact's orders.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is refused, not warned of
        report = ParityReport(
            evaluator=session.evaluator,
            source=reference.source,
            images=len(reference.images),
            batch_sizes=_sizes(reference, batch),
            outputs=(),
            top1=None,
            flips=(),
            accepted=accepted,
            decisions=_decisions(reference, decision_axis),
            spread=None if decision_axis is None else _Errors(reference, reference.scores[0], decision_axis).spread,
        )
        if ordering is not None:
            return _under_its_orders(report, reference, _batched(reference, session, batch), decision_axis, ordering)
        results = (result for batched in _batched(reference, session, batch) for result in batched)
        judged = _judged(reference, results, decision_axis)
        return replace(
            report,
            outputs=judged.outputs(accepted.multiple),
            top1=judged.decided.share,
            flips=judged.decided.flips,
            rule=judged.rule,
        )


@dataclass(frozen=True)
class _Judged:
    """Errors and decisions of an artifact, counted."""

    errors: tuple[_Errors, ...]
    decided: _Decided
    rule: RuleParity | None = None

    def outputs(self, multiple: float) -> tuple[OutputParity, ...]:
        """The figures of each output, and what is accepted of them."""
        return tuple(output.parity(multiple) for output in self.errors)


def _judged(reference: Reference, results: Iterable[_Result], axis: int | None) -> _Judged:
    """Count results one by one, so that one image's are in memory at a time."""
    errors = tuple(
        _Errors(reference, name, axis if index == 0 else None) for index, name in enumerate(reference.scores)
    )
    decided, followed = _Decided(reference, axis), None
    for image, found in results:
        for output in errors:
            output.add(found[output.name], image)
        decided.add(found, image)
        followed = _followed(reference, found, image, followed)
    return _Judged(errors, decided, followed)


def _followed(reference: Reference, found: Outputs, image: int, before: RuleParity | None) -> RuleParity | None:
    """What was found of the output that follows from the others, this image's outputs [1, ...] counted too."""
    if reference.rule is None:
        return None
    one = {name: value[image : image + 1] for name, value in reference.exact.items()}
    now = reference.rule.judge(found, one)
    if before is None:
        return now
    counts = ("answers", "faults", "expected", "matched")
    return replace(now, **{name: getattr(before, name) + getattr(now, name) for name in counts})


def _under_its_orders(
    report: ParityReport,
    reference: Reference,
    batches: Iterable[Sequence[_Result]],
    axis: int | None,
    ordering: Ordering,
) -> ParityReport:
    """Judge a model that sorts: each result beside the reference's under the order that the artifact took in it.

    Given   image 0 in two batches, with equal keys taken in another order
    Result  two rows of a reference of their own, each under one of the orders
    """
    # All results are kept: what to compare them with is known once the orders of their runs are.
    results: list[_Result] = []
    expected: list[Expected] = []
    for batched in batches:
        results += batched
        expected.append(ordering.expected(np.array([image for image, _ in batched])))  # of the run just made
    picked = [image for image, _ in results]
    truth = _under(reference, picked, expected)
    judged = _judged(truth, ((row, found) for row, (_, found) in enumerate(results)), axis)
    # Beside the model's own order too: another order of equal keys must not change a decision it is sure of.
    plainly = _Decided(reference, axis)
    for image, found in results:
        plainly.add(found, image)
    decided = reference.scores[0]
    return replace(
        report,
        outputs=judged.outputs(report.accepted.multiple),
        top1=judged.decided.share,
        flips=_once_an_image(judged.decided.flips),
        orders=summary([one.checks for one in expected]),
        reordered=float(np.abs(truth.exact[decided] - reference.exact[decided][picked]).max()),
        reordered_flips=plainly.flips,
    )


def _under(reference: Reference, picked: Sequence[int], expected: Sequence[Expected]) -> Reference:
    """A reference with one image for each of an artifact's results, under its orders."""
    return Reference(
        reference.source,
        tuple(reference.images[index] for index in picked),
        {},
        {name: np.concatenate([one.exact[name] for one in expected]) for name in reference.exact},
        {name: np.concatenate([one.rounded[name] for one in expected]) for name in reference.exact},
    )


def _once_an_image(flips: tuple[Flip, ...]) -> tuple[Flip, ...]:
    """Of each image's flips, in whichever batches, the one with the largest margin."""
    worst: dict[str, Flip] = {}
    for flip in flips:
        if flip.image not in worst or flip.margin > worst[flip.image].margin:
            worst[flip.image] = flip
    return tuple(worst.values())


def _batched(reference: Reference, session: Session, batch: int | None) -> Iterator[Sequence[_Result]]:
    """The results of each run; an image may be in several, and each of its results counts."""
    for index in _batches(len(reference.images), _sizes(reference, batch)):
        outputs = session.run({name: value[index] for name, value in reference.feeds.items()})
        yield [
            (image, {name: outputs[name][place : place + 1] for name in reference.exact})
            for place, image in enumerate(map(int, index))
        ]


def _sizes(reference: Reference, batch: int | None) -> tuple[int, ...]:
    """The batch sizes to check: the fixed one, or those of a dynamic one."""
    return (batch,) if batch else batch_sizes(sum(value[0].size for value in reference.feeds.values()))


def _batches(count: int, sizes: Sequence[int]) -> Iterator[NDArray[np.intp]]:
    """Batches of image indices: every checked size from the first image on, then the rest; short sets repeat.

    Given   5 images, sizes 1 and 2
    Result  [0], [0 1], [2 3], [4 0]
    """
    for size in sizes:  # each from image 0 on: the same images at every size, so that only batching differs
        yield np.arange(size) % count
    for start in range(sizes[-1], count, sizes[-1]):  # the rest in batches of the largest size
        yield np.arange(start, start + sizes[-1]) % count


class _Errors:
    """Errors of one output, image by image: a map of logits is too large for several copies of all of them.

    Args:
        axis: of the decision, where this is the output that is decided by.
    """

    def __init__(self, reference: Reference, name: str, axis: int | None) -> None:
        self.name, self.axis = name, axis
        self.exact, self.rounded = reference.exact[name], reference.rounded[name]
        self.mean = float(np.mean(self.exact, dtype=np.float64))
        self.count, self.largest, self.cosine = 0, 0.0, np.inf
        self.absolute = self.square = self.signal = self.centred = 0.0

    def add(self, found: Array, image: int) -> None:
        """Count one image's output, [1, ...]."""
        expected = self.exact[image : image + 1].astype(np.float64)
        # In float64, in which neither the difference of two float16 nor its square overflows.
        error = found.astype(np.float64) - expected
        self.count += error.size
        self.largest = float(np.maximum(self.largest, np.abs(error).max()))  # a NaN stays one
        self.absolute += float(np.abs(error).sum())
        self.square += _power(error)
        self.signal += _power(expected)
        self.centred += _power(self._centred(expected))
        self.cosine = float(np.minimum(self.cosine, _cosine(found.astype(np.float64), expected)))

    def _centred(self, exact: NDArray[np.float64]) -> NDArray[np.float64]:
        if exact.size == 1 or self.axis is not None:
            return centred(exact, self.axis)
        return exact - self.mean

    @property
    def spread(self) -> float:
        """Root mean square of what tells one answer from another, over the reference's images."""
        images = (self.exact[at : at + 1].astype(np.float64) for at in range(len(self.exact)))
        return float(np.sqrt(sum(_power(self._centred(exact)) for exact in images) / self.exact.size))

    def _floor(self) -> tuple[float, float]:
        """Largest and root mean square error of PyTorch at this precision."""
        pairs = zip(self.rounded, self.exact, strict=True)
        floors = [rounded.astype(np.float64) - exact for rounded, exact in pairs]
        largest = float(np.max([np.abs(floor).max() for floor in floors]))
        return largest, float(np.sqrt(sum(map(_power, floors)) / self.exact.size))

    def parity(self, multiple: float) -> OutputParity:
        """The figures, and what is accepted of them."""
        smallest = SMALLEST_FLOOR * float(np.abs(self.exact).max())
        # An output that float32 holds exactly has a floor of 0, which no other kernel would meet.
        largest, rms = self._floor()
        # Of some thousand normal errors the largest is about four times their rms.
        floor_max, floor_rms = max(largest, smallest), max(rms, smallest / 4)
        return OutputParity(
            name=self.name,
            max_abs=self.largest,
            mean_abs=self.absolute / self.count,
            rms=float(np.sqrt(self.square / self.count)),
            floor_max=floor_max,
            floor_rms=floor_rms,
            limit_max=multiple * floor_max,
            limit_rms=multiple * floor_rms,
            sqnr_db=decibels(self.signal, self.square),
            cosine=self.cosine,
            centred_db=decibels(self.centred, self.square),
        )


def _power(values: NDArray[np.float64]) -> float:
    return float(np.square(values).sum())


def sqnr_db(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """10 log10(sum signal^2 / sum noise^2) in dB: infinite without noise, minus so without a signal beside it."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return decibels(_power(signal), _power(noise))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two powers: infinite without noise, minus so without a signal beside it."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return float(10 * np.log10(np.float64(signal) / noise)) if noise else float("inf")


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


class _Decided:
    """Decisions of an artifact beside the truth's, image by image.

    An image has one decision, or one at each position of the other axes:

        [B, K]         argmax over K          one an image
        [B, K, H, W]   argmax over K          one a pixel; the flip with the largest margin stands for the image

    Outputs that are decisions already are compared with the truth's; else the largest scores are.
    """

    def __init__(self, reference: Reference, axis: int | None) -> None:
        self.reference, self.axis = reference, axis
        self.made = self.wrong = 0
        self.worst: dict[int, Flip] = {}

    def add(self, found: Outputs, image: int) -> None:
        """Count one image's outputs, [1, ...]."""
        one = slice(image, image + 1)
        for name, margins in self.reference.margins.items():
            self._count(image, self.reference.exact[name][one], found[name], margins[one])
        if self.reference.margins or self.axis is None:
            return
        name = self.reference.scores[0]
        exact, scores = (answers(values, self.axis) for values in (self.reference.exact[name][one], found[name]))
        # Argmax takes the first of equal scores on both sides, so equal outputs never flip.
        self._count(image, exact.argmax(axis=self.axis), scores.argmax(axis=self.axis), _margins(exact, self.axis))

    def _count(self, image: int, expected: Array, top: Array, margins: Array) -> None:
        """Compare decisions [1] or [1, H, W]; `margins` says how sure the reference is of each."""
        self.made += expected.size
        different = expected != top
        self.wrong += int(different.sum())
        if not different.any():
            return
        # The flip that rounding explains worst stands for the image; of equal ones the last.
        backwards = np.where(different, margins, -np.inf).ravel()[::-1]
        position = np.unravel_index(expected.size - 1 - backwards.argmax(), expected.shape)
        margin = float(margins[position])
        if image not in self.worst or margin >= self.worst[image].margin:
            place = ",".join(str(int(at)) for at in position[1:])
            where = self.reference.images[image] + (f" at {place}" if place else "")
            self.worst[image] = Flip(where, int(expected[position]), int(top[position]), margin)

    @property
    def share(self) -> float | None:
        """Share of equal decisions, over every batch that an image was in; None where nothing is decided."""
        return 1 - self.wrong / self.made if self.made else None

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Each image's worst flip, where it has one."""
        return tuple(self.worst[image] for image in sorted(self.worst))


def _margins(exact: Array, axis: int) -> Array:
    """The best score over the second best, of the reference."""
    ordered = np.sort(exact, axis=axis)
    margins: Array = np.take(ordered, -1, axis=axis) - np.take(ordered, -2, axis=axis)
    return margins
