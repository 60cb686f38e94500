"""Does an artifact's permutation sort the reference's keys, as far as rounding can tell?

A model that sorts (BOAT) has no one right order: keys that are equal up to rounding may come either way, and what comes
after them follows. What an artifact did is right if its order sorts the float64 keys, computed under the artifact's own
earlier orders, up to their noise. Outputs are then compared under that order, with the full bound.

    keys, by token   a 1.0   b 2.0   c 2.0000001   d 3.0,  noise 1e-6
    accepted         a b c d  and  a c b d
    refused          b a c d: b is 1.0 above a, far over the noise;   a b b d: no permutation
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slide_export.core.artifact import Array

SMALLEST_NOISE = 2 * float(np.finfo(np.float32).eps)
"""Of the largest key: a quotient of two float32 numbers near 1 is off by as much."""


@dataclass(frozen=True)
class KeyNoise:
    """How far the keys of an artifact may be from the float64 ones.

    Attributes:
        largest, rms: of the differences.
    """

    largest: float
    rms: float


@dataclass(frozen=True)
class PermutationCheck:
    """The verdict on one round of one sorting layer, over a batch of images.

    Attributes:
        tokens: how many were sorted, over all images and heads.
        noise: how far the keys may be off.
        strayed: tokens of a part that the order before had put into another one, or twice: no permutation.
        disorder: by how much the keys of two tokens stand the wrong way round at most; 0 in a sorted order.
        displaced_rms: root mean square of the key at a position minus the key that sorting puts there.
        moved: share of the tokens that are not where the float64 keys put them; each legitimately, if it passed.
    """

    tokens: int
    noise: KeyNoise
    strayed: int
    disorder: float
    displaced_rms: float
    moved: float

    @property
    def passed(self) -> bool:
        """Whether it is a permutation that sorts, as far as keys with this noise tell; a NaN is not.

        Keys k + e that are sorted leave k at most 2 max|e| out of order, and its rms from sorted k at most 2 rms(e):
        sorting moves two lists no farther apart than they are, once for the order and once for e itself.
        """
        sorts = self.disorder <= 2 * self.noise.largest and self.displaced_rms <= 2 * self.noise.rms
        return self.strayed == 0 and sorts


def check_permutation(keys: Array, noise: KeyNoise, before: Array, after: Array, parts: int) -> PermutationCheck:
    """Judge one round of a sort.

    Args:
        keys: float64 [..., N], of the tokens in the order `before`.
        noise: how far the keys of the artifact may be from these.
        before: position -> token [..., N] that the round started from.
        after: position -> token [..., N] that it left.
        parts: how many parts of equal size each row had before; every part is sorted by itself.
    """
    size = keys.shape[-1] // parts
    rows = keys.reshape(-1, size).astype(np.float64)
    started, left = (np.asarray(order).reshape(-1, size).astype(np.int64) for order in (before, after))
    same = np.sort(started, axis=1) == np.sort(left, axis=1)
    whole = same.all(axis=1)  # only a row that is a permutation has an order to judge
    found, ordered = _along(rows[whole], started[whole], left[whole]), np.argsort(rows[whole], axis=1, kind="stable")
    best = np.take_along_axis(started[whole], ordered, axis=1)
    # The largest key so far less the key here: the worst pair that stands the wrong way round, in one pass.
    highest = np.maximum.accumulate(found, axis=1)
    displaced = found - np.take_along_axis(rows[whole], ordered, axis=1)
    return PermutationCheck(
        tokens=rows.size,
        noise=noise,
        strayed=int(np.count_nonzero(~same)),
        disorder=float(np.max(highest - found, initial=0.0)),
        displaced_rms=_rms(displaced),
        moved=float(np.mean(best != left[whole])) if best.size else 1.0,
    )


def key_noise(exact: Array, rounded: Array, multiple: float) -> KeyNoise:
    """How far an artifact's keys may be from the float64 ones.

    Args:
        exact: the reference's keys in float64, under the artifact's orders.
        rounded: the same at the artifact's precision, in PyTorch.
        multiple: accepted error over this noise floor.
    """
    floor = rounded.astype(np.float64) - exact
    smallest = SMALLEST_NOISE * float(np.abs(exact).max(initial=0.0))
    largest = float(np.abs(floor).max(initial=0.0))
    # The rms of the smallest noise as `parity` has it: a quarter of the largest.
    return KeyNoise(multiple * max(largest, smallest), multiple * max(_rms(floor), smallest / 4))


def is_permutation(orders: Array) -> bool:
    """Whether each row of [..., N] has every token once."""
    return bool((np.sort(orders, axis=-1) == np.arange(orders.shape[-1])).all())


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def _along(keys: NDArray[np.float64], started: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.float64]:
    """The keys [R, n], which lie as the tokens `started` do, laid out as the tokens `left` are."""
    places = np.argsort(started, axis=1)  # of the tokens in ascending order
    ranks = np.argsort(np.argsort(left, axis=1), axis=1)  # rank of each token among those of its row
    return np.take_along_axis(keys, np.take_along_axis(places, ranks, axis=1), axis=1)
