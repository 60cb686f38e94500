"""Layers that sort: what they are called, recorded as they run, and told orders instead of sorting."""

import pytest
import torch
from torch import Tensor, nn

from slide_export.models.sorting import Round, Sorted, Sorting, ascending, following, recorded, round_names, sortings

KEYS = torch.tensor([[[3.0, 1.0, 2.0, 0.0]], [[0.0, 1.0, 2.0, 3.0]]])  # [2 images, 1 head, 4 tokens]


class Once(Sorting):
    """Sorts the tokens of a head by their keys in one round, or takes the order that it is told."""

    def __init__(self, parts: tuple[int, ...] = (1,)) -> None:
        super().__init__(4, parts)

    def forward(self, keys: Tensor) -> Sorted:
        if self.told is not None:
            return self.told, (keys,)
        _, order = self.rounds[0](keys.reshape(-1, 4), None, 1)
        return (order,), (keys,)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.none = Once(), Once(())

    def forward(self, keys: Tensor) -> Tensor:
        (order,), _ = self.first(keys)
        return order


def test_positions_in_ascending_order() -> None:
    assert ascending(KEYS, 4).tolist() == [[[3, 1, 2, 0]], [[0, 1, 2, 3]]]


def test_a_round_composes_with_the_order_before() -> None:
    before = torch.tensor([[[2, 0, 3, 1]]])
    places, order = Round(4)(torch.tensor([[3.0, 1.0, 2.0, 0.0]]), before, 1)
    assert places.tolist() == [[3, 1, 2, 0]]
    assert order.tolist() == [[[1, 0, 3, 2]]]  # the tokens at those places


def test_two_parts_are_sorted_each_by_itself() -> None:
    before = torch.tensor([[[2, 0, 3, 1]]])
    _, order = Round(4)(torch.tensor([[1.0, 0.0], [5.0, 4.0]]), before, 1)
    assert order.tolist() == [[[0, 2, 1, 3]]]


def test_only_layers_with_rounds_sort_and_each_round_has_a_name() -> None:
    model = Model()
    assert list(sortings(model)) == ["first"]
    assert round_names(model) == {"first": ("first.rounds.0",)}
    assert round_names(Once()) == {"": ("rounds.0",)}  # the root has no name
    assert dict(model.named_modules()).keys() >= {"first.rounds.0"}


def test_what_a_layer_gives_is_recorded_while_it_is_asked_for() -> None:
    model = Model()
    with recorded(model) as found:
        model(KEYS)
    (order,), (keys,) = found["first"]
    assert order.tolist() == [[[3, 1, 2, 0]], [[0, 1, 2, 3]]]
    assert keys is KEYS
    found.clear()
    model(KEYS)
    assert found == {}


@pytest.mark.parametrize("fails", [False, True])
def test_orders_are_followed_meanwhile_and_then_no_more(fails: bool) -> None:
    model, told = Model(), torch.tensor([[[0, 1, 2, 3]], [[3, 2, 1, 0]]])
    try:
        with following(model, {"first": [told]}):
            assert model(KEYS) is told
            with following(model, {"first": [KEYS]}):
                assert model(KEYS) is KEYS
            assert model(KEYS) is told
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert model.first.told is None
    assert model(KEYS).tolist() == [[[3, 1, 2, 0]], [[0, 1, 2, 3]]]
