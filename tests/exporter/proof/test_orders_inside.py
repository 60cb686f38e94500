"""Orders are read by the modules' names, are of the model's tokens, and are followed where they are permutations."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import ParityError
from slide_export.core.graph import Value
from slide_export.models.sorting import round_names, sortings
from slide_export.proof.orders_inside import OrdersInside, following_all, order_values, orders_of
from slide_export.proof.session import ArtifactValues
from tests.exporter.proof import sorting_toy

FIRST, SECOND = "attn.bisection.rounds.0", "attn.bisection.rounds.1"
LAYER = "attn.bisection"
TOKENS = sorting_toy.SIDE**2
VALUES = (
    Value("keys", "attn.bisection", ()),
    Value("order_a", FIRST, ("keys",)),
    Value("order_b", SECOND, ("order_a",)),
    Value("y", "", ("order_b",)),
)


class Fixed:
    """A session that gives one answer to everything."""

    evaluator = "a fake"

    def __init__(self, told: Outputs) -> None:
        self.told = told

    def run(self, feeds: Feeds) -> Outputs:
        return self.told


def test_an_order_is_the_value_of_its_rounds_module() -> None:
    assert order_values(VALUES, (FIRST, SECOND)) == {FIRST: "order_a", SECOND: "order_b"}


def test_a_round_that_no_value_belongs_to_is_refused_by_name() -> None:
    with pytest.raises(ParityError, match=r"the order of attn\.bisection\.rounds\.1 inside the artifact, found no"):
        order_values(VALUES[:2], (FIRST, SECOND))


def test_a_session_gives_orders_by_their_modules_and_opens_no_other_value() -> None:
    asked: list[Sequence[str]] = []

    def opened(names: Sequence[str]) -> Fixed:
        asked.append(names)
        return Fixed({"order_a": np.array([1, 0]), "order_b": np.array([0, 1])})

    inside = OrdersInside(ArtifactValues(VALUES, opened), (SECOND, FIRST))
    found = inside.run({})
    assert asked == [("order_b", "order_a")]
    assert inside.evaluator == "a fake"
    assert (found[FIRST].tolist(), found[SECOND].tolist()) == ([1, 0], [0, 1])


def told(order: NDArray[np.float64] | NDArray[np.int64]) -> Mapping[str, Sequence[NDArray[np.int64]]]:
    module = sorting_toy.served().module
    return orders_of(module, dict.fromkeys(round_names(module)[LAYER], order), count=2)


def test_whatever_view_of_an_order_the_artifact_has_is_taken() -> None:
    order = np.tile(np.arange(TOKENS), (2, sorting_toy.HEADS, 1))
    for view in (order, order.reshape(-1, TOKENS), order.reshape(-1), order[..., None].astype(np.float32)):
        for found in told(view)[LAYER]:
            assert found.dtype == np.int64
            assert np.array_equal(found, order)


@pytest.mark.parametrize(
    "order",
    [
        np.zeros((2, sorting_toy.HEADS, TOKENS - 1)),
        np.zeros((2, sorting_toy.HEADS, TOKENS + 1)),
        np.zeros((1, 1, TOKENS)),  # of one image, where two were asked for
        np.zeros((0, sorting_toy.HEADS, TOKENS)),
        np.full((2, 1, TOKENS), np.nan),
        np.full((2, 1, TOKENS), np.inf),
    ],
    ids=["fewer tokens", "more tokens", "fewer images", "nothing", "nan", "infinite"],
)
def test_what_is_no_order_of_the_models_tokens_is_refused(order: NDArray[np.float64]) -> None:
    with pytest.raises(ParityError, match=rf"an order of {TOKENS} tokens for each of 2 images in {FIRST}, found \["):
        told(order)


@pytest.mark.parametrize("twice", [False, True])
def test_only_a_permutation_is_followed(twice: bool) -> None:
    served = sorting_toy.served()
    layer = sortings(served.module)[LAYER]
    order = np.tile(np.arange(TOKENS)[::-1], (2, sorting_toy.HEADS, 1))
    if twice:
        order[1, 0, 3] = order[1, 0, 4]  # one token twice, in one image, of one round
    rounds = [np.sort(order), order] if twice else [order, order]
    with following_all([served.wrapper()], {LAYER: rounds}):
        assert (layer.told is None) == twice
        if not twice:
            assert torch.equal(layer.told[1], torch.from_numpy(order.copy()))  # type: ignore[index]
    assert layer.told is None
