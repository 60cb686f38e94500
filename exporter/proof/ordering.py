"""The reference of a model that sorts, under an artifact's own orders: what its outputs are to be compared with.

Keys that rounding cannot tell apart sort either way, and all that comes after them follows, so the artifact and the
reference may differ by a tenth of the outputs' spread with neither being wrong. The orders are read inside the artifact
and are a witness: where they sort the float64 keys up to their noise (`permutation.py`), and the outputs are those of
the reference under them, within the full bound, the artifact is the model. Whoever gives other orders proves nothing.

    artifact      outputs, orders
    reference     float64 under those orders -> expected outputs, keys to judge the orders by
    imitation     the precision's rounding under them -> noise floor of the outputs and of the keys
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slide_export.backends.interface import Session
from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel
from slide_export.models.sorting import Sorted, recorded, round_names, sortings

from .orders_inside import Orders, following_all, orders_of
from .permutation import PermutationCheck, check_permutation, is_permutation, key_noise
from .reference import imitation, model_inside


@dataclass(frozen=True)
class Expected:
    """What a batch's outputs are compared with.

    Attributes:
        exact, rounded: outputs of the reference and of its imitation, under the artifact's orders.
        checks: of each layer that sorts, one a round.
    """

    exact: Outputs
    rounded: Outputs
    checks: Mapping[str, tuple[PermutationCheck, ...]]


class Ordering:
    """The trained model under the orders that one artifact sorts by.

    Args:
        reference: of the same images, with the floor of `numbers`.
        inside: gives the artifact's orders for a batch, see `orders_inside`.
    """

    def __init__(self, served: ServedModel, reference: Reference, numbers: NumericFormat, inside: Session) -> None:
        self._served, self._reference, self._inside = served, reference, inside
        self._exact, self._imitation = served.in_float64(), imitation(served, reference.feeds, numbers)
        self._layers = sortings(served.module)
        self._multiple = numbers.precision.tolerance_factor
        # An image is in batches of every size, mostly under the same orders: computed once, not once a batch.
        self._known: dict[str, Expected] = {}
        # Images -> the ways in which they were sorted so far, for `_settled_first`.
        self._seen: dict[tuple[int, ...], set[str]] = defaultdict(set)

    def expected(self, index: NDArray[np.intp]) -> Expected:
        """What the images of a batch, by their place in the reference, are compared with.

        Raises:
            ParityError: the artifact's orders are not of the model's tokens.
        """
        feeds = {name: value[index] for name, value in self._reference.feeds.items()}
        orders = orders_of(self._served.module, self._inside.run(feeds), len(index))
        # The smallest batch that means the same: other images of it move neither outputs nor keys.
        together = self._served.coupled
        starts = range(0, len(index), together)
        return _joined([self._smallest(index[n : n + together], _rows(orders, n, n + together)) for n in starts])

    def golden(self, count: int, batch: int | None) -> Reference:
        """The reference under the artifact's orders, of at most `count` images: what a proof without the model repeats.

        Images that were sorted alike in every batch so far come first: others may differ by the batch that they are in.

        Args:
            batch: the artifact's fixed batch size, None for a dynamic one.
        """
        chosen = self._settled_first()[: count - count % self._served.coupled]
        size = batch or 1
        # A fixed batch is filled up by beginning anew; what the repeats give is cut off below.
        parts = [self.expected(np.resize(chosen[n : n + size], size)) for n in range(0, len(chosen), size)]
        found, reference = _joined(parts), self._reference
        return Reference(
            reference.source,
            tuple(reference.images[index] for index in chosen),
            {name: value[chosen] for name, value in reference.feeds.items()},
            {name: value[: len(chosen)] for name, value in found.exact.items()},
            {name: value[: len(chosen)] for name, value in found.rounded.items()},
        )

    def _settled_first(self) -> NDArray[np.intp]:
        together = self._served.coupled
        groups = np.arange(len(self._reference.images)).reshape(-1, together)
        ways = [len(self._seen[tuple(map(int, group))]) for group in groups]
        # Settled or not is all that counts; stable, so that the first images stay the first.
        return groups[np.argsort(np.minimum(ways, 2), kind="stable")].reshape(-1)

    def _smallest(self, index: NDArray[np.intp], orders: Orders) -> Expected:
        """The same of the smallest batch that the model takes, computed once for the same orders."""
        parts = (index, *(order for rounds in orders.values() for order in rounds))
        key = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
        self._seen[tuple(map(int, index))].add(key)
        if key not in self._known:
            self._known[key] = self._compute(index, orders)
        return self._known[key]

    def _compute(self, index: NDArray[np.intp], orders: Orders) -> Expected:
        reference = self._reference
        if not all(is_permutation(order) for rounds in orders.values() for order in rounds):
            # Compared with the reference's own outputs: the orders have failed already, this is for the report.
            own, noisy = ({n: v[index] for n, v in of.items()} for of in (reference.exact, reference.rounded))
            return Expected(own, noisy, _strayed(orders))
        feeds = {name: value[index] for name, value in reference.feeds.items()}
        exact, sorted_exact = self._run(self._exact, feeds, torch.float64, orders)
        rounded, sorted_rounded = self._run(self._imitation, feeds, torch.float32, orders)
        return Expected(exact, rounded, dict(self._checks(orders, sorted_exact, sorted_rounded)))

    def _run(
        self, module: nn.Module, feeds: Feeds, dtype: torch.dtype, orders: Orders
    ) -> tuple[Outputs, Mapping[str, Sorted]]:
        images = self._served.tensors(feeds, dtype)
        with torch.inference_mode(), following_all((module,), orders), recorded(model_inside(module)) as found:
            outputs = self._served.named(module(*images))
        return outputs, found

    def _checks(
        self, orders: Orders, exact: Mapping[str, Sorted], rounded: Mapping[str, Sorted]
    ) -> Iterator[tuple[str, tuple[PermutationCheck, ...]]]:
        for layer, rounds in orders.items():
            before, checks = _as_they_are(rounds[0]), []
            for number, (parts, after) in enumerate(zip(self._layers[layer].parts, rounds, strict=True)):
                keys, noisy = (found[layer][1][number].numpy() for found in (exact, rounded))
                # Keys lie as the round before left the tokens: the orders were followed there, not the keys' own.
                noise = key_noise(keys, noisy, self._multiple)
                checks.append(check_permutation(keys, noise, before, after, parts))
                before = after
            yield layer, tuple(checks)


def ordering(
    served: ServedModel, reference: Reference, numbers: NumericFormat, shown: Callable[[Sequence[str]], Session]
) -> Ordering | None:
    """The reference under an artifact's orders; None for a model that sorts nothing, whose artifact is not looked into.

    Args:
        shown: opens the artifact to give the orders of rounds by name, see `orders_inside`.

    Raises:
        ParityError: the artifact does not show its orders.
        RequestError: its backend shows no values.
    """
    rounds = tuple(name for names in round_names(served.module).values() for name in names)
    return Ordering(served, reference, numbers, shown(rounds)) if rounds else None


def _strayed(orders: Orders) -> dict[str, tuple[PermutationCheck, ...]]:
    """Verdicts on orders of which one is no permutation, so that nothing can be computed under them."""
    # Keys that are all 0 are sorted in any order, so that the tokens in no permutation are all that is found.
    return {
        layer: tuple(
            check_permutation(np.zeros(order.shape), key_noise(np.zeros(1), np.zeros(1), 0), whole, order, 1)
            for order in rounds
            for whole in (_as_they_are(order),)
        )
        for layer, rounds in orders.items()
    }


def _as_they_are(order: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(order.shape[-1]), order.shape)


def _rows(orders: Orders, start: int, end: int) -> Orders:
    return {layer: [order[start:end] for order in rounds] for layer, rounds in orders.items()}


def _joined(parts: Sequence[Expected]) -> Expected:
    exact = {name: np.concatenate([part.exact[name] for part in parts]) for name in parts[0].exact}
    rounded = {name: np.concatenate([part.rounded[name] for part in parts]) for name in parts[0].rounded}
    layers = parts[0].checks
    return Expected(exact, rounded, {layer: sum((part.checks[layer] for part in parts), ()) for layer in layers})
