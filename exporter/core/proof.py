"""The reference of a proof and its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .typed_json import Measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from .artifact import Feeds, Outputs

SIGNIFICANCE = 0.01
BATCH_SIZES = (1, 2, 3, 8)  # where a dynamic batch is checked: 0 and 1 are what exporters bake in
LARGEST_BATCH_VALUES = 3 * 8 * 512 * 512
"""Numbers fed in a batch of more than two: a UPerNet's maps of eight pictures of 512x512 take 5 GiB."""


def batch_sizes(values: int) -> tuple[int, ...]:
    """The batch sizes that a dynamic batch is checked at: fewer of large images, whose maps no memory would hold.

    Args:
        values: numbers that are fed of one image.
    """
    return tuple(size for size in BATCH_SIZES if size <= max(2, LARGEST_BATCH_VALUES // values))


@dataclass(frozen=True)
class RuleParity:
    """Whether an output follows from the artifact's other outputs, over all images and batch sizes.

    Attributes:
        name: of the output.
        answers: how many were given: detections, say.
        faults: what breaks the rule; an answer that is none, one that is not there.
        expected: answers of the reference.
        matched: of these, how many the artifact gives too; information, for one near tie decides many.
    """

    name: str
    answers: int
    faults: int
    expected: int
    matched: int


@dataclass(frozen=True)
class Rule:
    """What an output is proved by that follows from the others, and jumps where these hardly differ.

    Attributes:
        output: its name.
        judge: (an artifact's outputs, the reference's), both of one image [1, ...] -> what was found.
    """

    output: str
    judge: Callable[[Outputs, Outputs], RuleParity]


@dataclass(frozen=True)
class Reference:
    """The trained model's own answers, and what a precision costs it.

    Attributes:
        source: where the images came from.
        images: what they are called.
        feeds: what an artifact gets, first axis the image.
        exact: outputs of the trained, unfused model in float64.
        rounded: the same at the artifact's precision.
        margins: of outputs that are decisions already, by how much the truth prefers each to the next one, in the units
            of the first output.
        rule: of an output that follows from the others; None where there is none.
    """

    source: str
    images: tuple[str, ...]
    feeds: Feeds
    exact: Outputs
    rounded: Outputs
    margins: Outputs = field(default_factory=dict)
    rule: Rule | None = None

    @property
    def scores(self) -> tuple[str, ...]:
        """Outputs that are numbers, in which an error can be small or large."""
        derived = () if self.rule is None else (self.rule.output,)
        return tuple(name for name in self.exact if name not in self.margins and name not in derived)


@dataclass(frozen=True)
class OutputParity:
    """How far one output of an artifact is from the float64 reference, beside how far PyTorch at its precision is.

    Attributes:
        max_abs, mean_abs, rms: of artifact - reference, over all images and batch sizes.
        floor_max, floor_rms: the noise floor: the same of PyTorch at this precision - reference.
        limit_max, limit_rms: accepted up to here.
        sqnr_db: signal to noise, 10 log10(sum reference^2 / sum error^2).
        cosine: smallest cosine of an image's output and its reference.
        centred_db: signal to noise where the signal is what tells one answer from another: the reference without the
            mean of its scores or, where nothing is decided, without that of all its values. NaN in a manifest
            that is older or whose `sqnr_db` is infinite.
    """

    name: str
    max_abs: Measured
    mean_abs: Measured
    rms: Measured
    floor_max: Measured
    floor_rms: Measured
    limit_max: Measured
    limit_rms: Measured
    sqnr_db: Measured
    cosine: Measured
    centred_db: Measured = math.nan

    @property
    def passed(self) -> bool:
        """Whether both errors are within their limits; a NaN is not, and nothing is within an infinite limit."""
        return self.max_abs <= self.limit_max < math.inf and self.rms <= self.limit_rms < math.inf

    @property
    def share(self) -> float:
        """The largest error over its limit: above 1 is beyond it, and what has no finite share is infinitely far."""
        if self.max_abs == self.limit_max == 0:
            return 0.0  # of an output of zeros
        share = self.max_abs / self.limit_max if 0 < self.limit_max < math.inf else math.inf
        return math.inf if math.isnan(share) else share


@dataclass(frozen=True)
class OrderParity:
    """How far an artifact's orders of one sorting layer are from sorting the float64 keys, over all images and rounds.

    Attributes:
        layer: name of the module.
        tokens: how many were sorted.
        strayed: tokens that are in no permutation.
        disorder, displaced_rms: how far keys stand out of order, at most and as a root mean square, of the round that
            comes nearest to its limit; see `proof.permutation.PermutationCheck`.
        limit_max, limit_rms: accepted up to here; what the precision costs the keys, times the tolerance.
        moved: share of the tokens that are not where the float64 keys put them, within those limits.
    """

    layer: str
    tokens: int
    strayed: int
    disorder: Measured
    displaced_rms: Measured
    limit_max: Measured
    limit_rms: Measured
    moved: Measured

    @property
    def passed(self) -> bool:
        """Whether they are permutations that sort; a NaN is not, and nothing is within an infinite limit."""
        within = self.disorder <= self.limit_max < math.inf and self.displaced_rms <= self.limit_rms < math.inf
        return self.strayed == 0 and within


@dataclass(frozen=True)
class Flip:
    """An image whose top class changed, and by how much the reference had preferred it (in the output's units)."""

    image: str
    expected: int
    found: int
    margin: Measured


@dataclass(frozen=True)
class Acceptance:
    """What a proof accepts.

    Attributes:
        multiple: of the noise floor, for the largest error and for the root mean square.
        min_sqnr_db: of every output; None asks for none, the floor says it all.
        min_top1: refused where this share of equal top classes can be ruled out; None likewise.
        least_db, sure_margin: the precision's own, whatever the floor or a recipe says; None in older manifests.
    """

    multiple: float
    min_sqnr_db: float | None = None
    min_top1: float | None = None
    least_db: float | None = None
    sure_margin: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """The verdict on one artifact.

    Attributes:
        evaluator: which program ran the artifact.
        source: where the images came from.
        images: how many.
        batch_sizes: which were run.
        top1: share of decisions that agree, of an image's class or of its pixels'; None where nothing is decided.
        flips: of each image that has some, the one that the reference was surest of.
        accepted: what was accepted.
        decisions: an image.
        spread: root mean square of the reference's scores around the mean of each decision's, over all images: what a
            margin is large or small against. None where nothing is decided.
        orders: of each layer that sorts; the outputs were then compared with the reference under the artifact's orders.
        reordered: how far those orders move the reference's own first output at most. No limit has it in it: it is what
            the model leaves open between keys that rounding cannot tell apart. None where nothing is sorted.
        reordered_flips: decisions that are others than the reference's under its own orders.
        rule: of an output that follows from the others; None where there is none.
    """

    evaluator: str
    source: str
    images: int
    batch_sizes: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    top1: float | None
    flips: tuple[Flip, ...]
    accepted: Acceptance
    decisions: int = 1
    spread: Measured | None = None
    orders: tuple[OrderParity, ...] = ()
    reordered: Measured | None = None
    reordered_flips: tuple[Flip, ...] = ()
    rule: RuleParity | None = None

    @property
    def passed(self) -> bool:
        """Whether every output is within its limits and clear enough, sorted, and no confident answer changed."""
        within = all(output.passed for output in self.outputs) and all(order.passed for order in self.orders)
        return within and not (
            self.broken_rule
            or self.noisy_outputs
            or self.drowned_outputs
            or self.confident_flips
            or self.sure_flips
            or self.too_many_flips
        )

    @property
    def tightest(self) -> OutputParity:
        """The output that is nearest to its limit, or farthest beyond: outputs have limits of their own."""
        return max(self.outputs, key=lambda output: output.share)

    @property
    def broken_rule(self) -> bool:
        """Whether an output does not follow from the others."""
        return self.rule is not None and self.rule.faults > 0

    @property
    def noisy_outputs(self) -> tuple[OutputParity, ...]:
        """Outputs whose signal to noise is below what was accepted; a NaN is."""
        least = self.accepted.min_sqnr_db
        return () if least is None else tuple(o for o in self.outputs if not o.sqnr_db >= least)

    @property
    def drowned_outputs(self) -> tuple[OutputParity, ...]:
        """Outputs whose noise is more than the precision may cost, whatever its floor; a NaN is."""
        least = self.accepted.least_db
        return () if least is None else tuple(o for o in self.outputs if not o.centred_db >= least)

    @property
    def too_many_flips(self) -> bool:
        """Whether so few top classes are equal that the accepted share is ruled out, at 1 percent significance."""
        share = self.accepted.min_top1
        if share is None or self.top1 is None:
            return False
        if self.decisions > 1:  # neighbouring pixels flip together, so the binomial test would say too much
            return self.top1 < share
        equal = self.images - len(self.flips)
        chances = (math.comb(self.images, n) * share**n * (1 - share) ** (self.images - n) for n in range(equal + 1))
        return math.fsum(chances) < SIGNIFICANCE

    @property
    def confident_flips(self) -> tuple[Flip, ...]:
        """Flips that rounding cannot explain: the reference's margin is over twice the accepted error."""
        limit = max((output.limit_max for output in self.outputs), default=0.0)
        return tuple(flip for flip in self.flips if flip.margin > 2 * limit)

    @property
    def sure_flips(self) -> tuple[Flip, ...]:
        """Flips of decisions that the trained model is sure of by its own margin, however large the noise floor is."""
        margin = self.accepted.sure_margin
        if margin is None or self.spread is None:
            return ()
        return tuple(flip for flip in (*self.flips, *self.reordered_flips) if flip.margin > margin * self.spread)
