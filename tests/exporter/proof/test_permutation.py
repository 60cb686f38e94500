"""An order that sorts up to the keys' noise is accepted, and nothing else; the same of the inference form's orders."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slide_export.inference.fuse import inference_form
from slide_export.models.content_attention import Orders, WithOrders, bisections, recorded, replay
from slide_export.proof.permutation import PermutationCheck, check_permutation, key_noise
from tests.models.test_systems_golden import load

KEYS = np.array([[1.0, 2.0, 2.0000001, 3.0]])
TOKENS = np.array([[10, 11, 12, 13]])
NOISE = 1e-6


def judge(after: list[int], *, before: list[int] | None = None, clusters: int = 1) -> PermutationCheck:
    started = TOKENS if before is None else np.array([before])
    return check_permutation(KEYS, NOISE, started, np.array([after]), clusters)


@pytest.mark.parametrize("after", [[10, 11, 12, 13], [10, 12, 11, 13]])
def test_keys_that_are_equal_up_to_their_noise_may_come_either_way(after: list[int]) -> None:
    assert judge(after).passed


def test_keys_belong_to_the_tokens_as_they_lay_before() -> None:
    assert judge([13, 11, 12, 10], before=[13, 11, 12, 10]).passed
    assert not judge([10, 11, 12, 13], before=[13, 11, 12, 10]).passed


@pytest.mark.parametrize("after", [[11, 10, 12, 13], [10, 11, 13, 12], [13, 11, 12, 10]])
def test_keys_the_wrong_way_round_are_refused(after: list[int]) -> None:
    check = judge(after)
    assert not check.passed
    assert check.disorder >= 0.9
    assert check.strayed == 0


@pytest.mark.parametrize("after", [[10, 11, 11, 13], [10, 11, 12, 14]])
def test_what_is_no_permutation_is_refused(after: list[int]) -> None:
    check = judge(after)
    assert not check.passed
    assert check.strayed > 0


def test_tokens_stay_in_their_cluster() -> None:
    assert judge([10, 11, 12, 13], clusters=2).passed
    assert judge([10, 12, 11, 13], clusters=2).strayed == 2  # within the noise, and yet across the cut


def test_a_nan_among_the_keys_is_refused() -> None:
    keys = KEYS.copy()
    keys[0, 1] = np.nan
    assert not check_permutation(keys, NOISE, TOKENS, TOKENS, 1).passed


def test_disorder_is_allowed_up_to_twice_the_noise_of_a_key() -> None:
    keys = np.array([[0.0, 1.9]])
    swapped = np.array([[1, 0]])
    assert check_permutation(keys, 1.0, np.array([[0, 1]]), swapped, 1).passed
    assert not check_permutation(keys, 0.9, np.array([[0, 1]]), swapped, 1).passed


def test_moved_is_the_share_that_float64_would_have_put_elsewhere() -> None:
    assert judge([10, 11, 12, 13]).moved == 0
    assert judge([10, 12, 11, 13]).moved == 0.5


def test_noise_is_a_multiple_of_what_the_precision_costs_and_never_nothing() -> None:
    exact = np.array([1.0, 2.0])
    assert key_noise(exact, exact + np.array([0.0, 1e-3]), 8) == pytest.approx(8e-3)
    assert 0 < key_noise(exact, exact, 8) < 1e-5


@dataclass(frozen=True)
class Forced:
    """The float64 reference under an artifact's orders, and the same in float32."""

    exact: Tensor
    rounded: Tensor
    keys: dict[str, Orders]
    rounded_keys: dict[str, Orders]

    @property
    def limit(self) -> float:
        return 8 * float((self.rounded.double() - self.exact).abs().max())


def force(model: nn.Module, images: Tensor, orders: dict[str, Orders]) -> Forced:
    forced = replay(model, orders)
    with torch.no_grad():
        with recorded(forced) as rounded_keys:
            rounded = forced(images)
        double = copy.deepcopy(forced).double()
        with recorded(double) as exact_keys:
            exact = double(images.double())
    return Forced(
        exact,
        rounded,
        {name: keys for name, (_, keys) in exact_keys.items()},
        {name: keys for name, (_, keys) in rounded_keys.items()},
    )


def judgements(reference: Forced, orders: dict[str, Orders]) -> list[PermutationCheck]:
    checks = []
    for layer, levels in orders.items():
        before = torch.arange(levels[0].shape[-1]).expand(levels[0].shape)
        for level, after in enumerate(levels):
            keys, rounded = reference.keys[layer][level].numpy(), reference.rounded_keys[layer][level].numpy()
            noise = key_noise(keys, rounded, 8)
            checks.append(check_permutation(keys, noise, before.numpy(), after.numpy(), 1 << level))
            before = after
    return checks


def picture(shape: tuple[int, ...], *, flat: bool) -> Tensor:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if flat:
        image[:, :, shape[2] // 2 :] = 0.5  # tokens that are alike up to rounding, as in a photograph's sky
    return image


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", ["boat_swin_3", pytest.param("boat_cswin", marks=pytest.mark.slow)])
def test_the_inference_forms_orders_sort_and_its_logits_are_the_references_under_them(name: str, flat: bool) -> None:
    golden, model = load(name)
    images = picture(tuple(golden.inputs["input"].shape), flat=flat)
    proof = WithOrders(inference_form(model))
    with torch.no_grad():
        found = dict(zip(("logits", *proof.names), proof(images), strict=True))
    orders = {layer: found[f"order.{layer}"].unbind(dim=1) for layer in bisections(model)}
    reference = force(model, images, orders)
    assert all(check.passed for check in judgements(reference, orders))
    assert float((found["logits"] - reference.exact).abs().max()) <= reference.limit
    assert reference.limit <= 3e-5 * float(reference.exact.std())  # tight: no order is in it


def test_one_wrong_weight_is_seen_under_the_artifacts_own_orders() -> None:
    golden, model = load("boat_swin_3")
    images = picture(tuple(golden.inputs["input"].shape), flat=True)
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        weight = wrong.layers[0].blocks[1].mlp.fc1.weight
        weight.view(-1)[weight.abs().argmax()] *= 1.01
        with recorded(wrong) as found:
            logits = wrong(images)
    orders = {layer: levels for layer, (levels, _) in found.items()}
    reference = force(model, images, orders)
    assert float((logits.double() - reference.exact).abs().max()) > reference.limit


def test_an_order_by_other_keys_is_refused() -> None:
    golden, model = load("boat_swin_3")
    images = golden.inputs["input"]
    with torch.no_grad(), recorded(model) as found:
        model(images)
    layer, (levels, _) = next(iter(found.items()))
    orders = {name: levels for name, (levels, _) in found.items()}
    assert all(check.passed for check in judgements(force(model, images, orders), orders))
    orders[layer] = (levels[0].flip(-1), *levels[1:])
    assert not judgements(force(model, images, orders), orders)[0].passed
