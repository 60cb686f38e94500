"""The orders that an artifact sorts by, read among the values inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, ShowsValues
from slide_export.core.artifact import Array, Feeds, Outputs
from slide_export.core.errors import LoweringError, ParityError
from slide_export.core.graph import Value
from slide_export.core.module_outputs import outputs_of
from slide_export.models.sorting import following, round_names, sortings

from .permutation import is_permutation
from .reference import model_inside
from .session import ArtifactValues, look_inside

Orders: TypeAlias = Mapping[str, Sequence[NDArray[np.int64]]]
"""Of each layer that sorts, the order after each round, [B, nH, N]."""


class OrdersInside:
    """A session that gives orders.

    Args:
        rounds: names of the modules whose outputs they are.

    Raises:
        ParityError: the artifact does not show one of them.
    """

    def __init__(self, inside: ArtifactValues, rounds: Sequence[str]) -> None:
        # Shown beside the outputs, each order keeps memory of a batch: these values and no others.
        self._values = order_values(inside.values, rounds)
        self._session = inside.open(tuple(self._values.values()))
        self.evaluator = self._session.evaluator

    def run(self, feeds: Feeds) -> Outputs:
        """The order of each round, by its module's name."""
        found = self._session.run(feeds)
        return {name: np.asarray(found[value]) for name, value in self._values.items()}


def order_values(values: Sequence[Value], rounds: Sequence[str]) -> dict[str, str]:
    """Name of the value that is the order of each round.

    Raises:
        ParityError: the artifact does not show one of them.
    """
    found = outputs_of(values, rounds)
    for name in rounds:
        if name not in found:
            raise ParityError(f"expected the order of {name} inside the artifact, found no value of that module")
    return found


def orders_of(module: nn.Module, found: Outputs, count: int) -> Orders:
    """The orders of each layer that sorts, from those of each round.

    Args:
        module: the trained model.
        count: images of the batch.

    Raises:
        ParityError: one is not of the model's tokens.
    """
    tokens = {name: layer.tokens for name, layer in sortings(module).items()}
    return {
        layer: [_whole(name, found[name], count, tokens[layer]) for name in rounds]
        for layer, rounds in round_names(module).items()
    }


def _whole(name: str, found: Array, count: int, tokens: int) -> NDArray[np.int64]:
    """A round's order as [B, nH, N], whatever views of it the artifact has."""
    # Views merge and split axes but keep the tokens of a head together, last; heads are what is left over.
    if found.size == 0 or found.size % (count * tokens) or not np.isfinite(found).all():
        raise ParityError(
            f"expected an order of {tokens} tokens for each of {count} images in {name}, found {list(found.shape)}: "
            "the artifact is not the model"
        )
    return found.reshape(count, -1, tokens).astype(np.int64)


@contextmanager
def following_all(served: Sequence[nn.Module], orders: Orders) -> Iterator[None]:
    """Have served models take an artifact's orders; orders that are no permutation are none to take.

    Args:
        served: what holds an `ExportWrapper` each.
    """
    # One order that is none stops all: a layer behind it would be fed tokens that no artifact has.
    sound = all(is_permutation(order) for rounds in orders.values() for order in rounds)
    told = {layer: [torch.from_numpy(order) for order in rounds] for layer, rounds in orders.items()}
    with ExitStack() as stack:
        for one in served if sound else ():
            stack.enter_context(following(model_inside(one), told))
        yield


def refuse_hidden(backend: Backend, trained: nn.Module) -> None:
    """Refuse a model that sorts for a target that shows no order: nobody could tell a permissible one from a wrong one.

    Raises:
        LoweringError: names a layer that sorts, and targets that show orders.
    """
    sorts = next(iter(sortings(trained)), None)
    if sorts is None or isinstance(backend, ShowsValues) or optional.unavailable_reason(backend):
        return  # of one that cannot run here, the graph that it was built from shows the orders
    showing = ", ".join(name for name in backends.names() if isinstance(backends.load(name), ShowsValues))
    raise LoweringError(
        f"expected a target that shows the order that {sorts} sorts by, which a proof has to see, found "
        f"{optional.name_of(backend)}, which shows no value inside its artifacts: take one of {showing}"
    )


def open_orders(
    backend: Backend, path: Path, graph: Path | None, settings: Mapping[str, Any], rounds: Sequence[str]
) -> OrdersInside:
    """Open an artifact to give its orders or, where it cannot run, the graph that it was built from.

    Raises:
        ParityError: the artifact does not show one of them.
        RequestError: its backend shows no values.
    """
    return OrdersInside(look_inside(backend, path, graph, settings), rounds)
