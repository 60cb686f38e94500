"""BOAT's clusters against a token-by-token computation; who influences whom in a batch; impossible sizes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from slide_export.models import ShapeError, boat_cswin, boat_swin
from slide_export.models.boat_cswin import BoatCSwinConfig, BoatCSwinTransformer
from slide_export.models.boat_swin import BoatSwinConfig, BoatSwinTransformer
from slide_export.models.content_attention import ContentAttention, levels, sort_keys
from slide_export.models.sorting import following, recorded, round_names, sortings
from tests.conftest import randomise

SWIN = BoatSwinConfig(8, (2, 2, 2), (2, 2, 4), image_size=(112, 112), num_classes=3)
CSWIN = BoatCSwinConfig(64, (1, 2), (2, 4), stripes=(7, 0), image_size=(56, 56), num_classes=3)
ROUNDING = 1e-5  # relative; sums of float32 in another order


def attention(side: int, *, heads: int = 2, dim: int = 8) -> ContentAttention:
    torch.manual_seed(0)
    layer = ContentAttention(dim, heads, (side, side))
    randomise(layer)
    return layer.double()


def test_each_cluster_attends_to_itself_and_to_the_nearest_20_of_its_pair() -> None:
    layer, heads, dim, side = attention(14), 2, 8, 14
    x = torch.randn(1, side, side, dim, dtype=torch.float64)
    with torch.no_grad(), recorded(layer) as found:
        ours = layer(x)
        qkv = layer.qkv(x).reshape(side * side, 3, heads, dim // heads)
    ((orders, _),) = found.values()
    out = torch.zeros(side * side, heads, dim // heads, dtype=torch.float64)
    for head in range(heads):
        order = orders[-1][0, head].tolist()
        for place, token in enumerate(order):
            cluster, within = divmod(place, 49)
            first = cluster // 2 * 98
            reach = order[first : first + 69] if cluster % 2 == 0 else order[first + 29 : first + 98]
            q, k, v = qkv[token, 0, head], qkv[reach, 1, head], qkv[reach, 2, head]
            out[token, head] = torch.softmax(k @ q / math.sqrt(dim // heads), dim=0) @ v
            assert 0 <= within < 49
    values = qkv[:, 2].reshape(1, side, side, dim).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = layer.proj(out.reshape(1, side, side, dim) + layer.get_v(values).permute(0, 2, 3, 1))
    assert torch.allclose(ours, expected, rtol=1e-12, atol=1e-13)


def test_sort_keys_are_the_formula_of_the_paper() -> None:
    q = np.random.default_rng(0).standard_normal((98, 4))
    unit = q / np.linalg.norm(q, axis=1, keepdims=True)
    centres = np.stack([q[:49].mean(axis=0), q[49:].mean(axis=0)])
    for _ in range(2):
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        logits = 100 * unit @ centres.T
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        centres = (weights / weights.sum(axis=1, keepdims=True)).T @ q
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    scores = unit @ centres.T
    expected = (scores[:, 0] + 1) / (scores[:, 1] + 1)
    assert np.allclose(sort_keys(torch.from_numpy(q)[None], 98)[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("side", "expected"), [(7, 0), (14, 2), (28, 4), (56, 6)])
def test_a_map_is_halved_until_clusters_have_49_tokens(side: int, expected: int) -> None:
    assert levels((side, side)) == expected


@pytest.mark.parametrize("resolution", [(14, 28), (12, 12), (21, 21), (0, 0)])
def test_a_map_that_does_not_halve_into_clusters_is_refused(resolution: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="side 7, 14, 28"):
        levels(resolution)


def test_the_inference_form_sorts_alike_and_computes_the_same() -> None:
    layer = attention(28)
    fused, x = layer.fuse(), torch.randn(2, 28, 28, 8, dtype=torch.float64)
    with torch.no_grad():
        with recorded(layer) as ours:
            expected = layer(x)
        with recorded(fused) as theirs:
            assert torch.allclose(fused(x), expected, rtol=1e-12, atol=1e-13)
    assert ours.keys() == theirs.keys() == {"bisection"}
    assert all(torch.equal(a, b) for a, b in zip(ours["bisection"][0], theirs["bisection"][0], strict=True))


def images(config: BoatSwinConfig | BoatCSwinConfig, batch: int) -> Tensor:
    return torch.randn(batch, 3, *config.image_size, generator=torch.Generator().manual_seed(1))


def test_boat_swin_judges_each_image_by_itself() -> None:
    model = randomise(BoatSwinTransformer(SWIN))
    with torch.no_grad():
        x = images(SWIN, 3)
        whole, single = model(x), model(x[1:2])
    assert torch.allclose(whole[1:2], single, rtol=ROUNDING, atol=ROUNDING)


def test_boat_cswin_couples_images_in_pairs_and_no_others() -> None:
    model = randomise(BoatCSwinTransformer(CSWIN))
    with torch.no_grad():
        x = images(CSWIN, 4)
        whole, pair = model(x), model(x[:2])
        swapped = model(x[[1, 0, 2, 3]])
    assert torch.allclose(whole[:2], pair, rtol=ROUNDING, atol=ROUNDING)
    assert torch.equal(whole[2:], swapped[2:])
    assert (whole[0] - swapped[1]).abs().max() > 100 * ROUNDING  # the place in its pair changes an image's logits


@pytest.mark.parametrize("batch", [1, 3])
def test_boat_cswin_refuses_an_image_without_a_partner(batch: int) -> None:
    model = randomise(BoatCSwinTransformer(CSWIN))
    with pytest.raises(ShapeError, match="even batch"), torch.no_grad():
        model(images(CSWIN, batch))


def test_following_its_own_orders_changes_nothing_and_others_do() -> None:
    model = randomise(BoatSwinTransformer(SWIN))
    with torch.no_grad():
        x = images(SWIN, 2)
        with recorded(model) as found:
            expected = model(x)
        orders = {name: own for name, (own, _) in found.items()}
        assert list(orders) == list(sortings(model)) == [f"layers.{n}.blocks.1.attnC.bisection" for n in range(2)]
        with following(model, orders):
            assert torch.equal(model(x), expected)
        others = {name: [order.flip(-1).roll(7, dims=-1) for order in own] for name, own in orders.items()}
        with following(model, others):
            assert not torch.allclose(model(x), expected, atol=1e-4)
        assert torch.equal(model(x), expected)  # it sorts again


def test_each_round_has_the_name_of_a_module() -> None:
    model = BoatSwinTransformer(SWIN)
    assert {name: len(rounds) for name, rounds in round_names(model).items()} == {
        "layers.0.blocks.1.attnC.bisection": 4,
        "layers.1.blocks.1.attnC.bisection": 2,
    }
    assert set(round_names(model)["layers.1.blocks.1.attnC.bisection"]) <= {name for name, _ in model.named_modules()}


@pytest.mark.parametrize("size", [(384, 384), (448, 448), (224, 256)])
def test_other_sizes_are_refused(size: tuple[int, int]) -> None:
    for config in (boat_swin.VARIANTS["boat_swin_tiny"], boat_cswin.VARIANTS["boat_cswin_tiny"]):
        assert config.at((224, 224)) == config
        with pytest.raises(ShapeError, match="224x224"):
            config.at(size)


@pytest.mark.parametrize("name", boat_swin.VARIANTS)
def test_infer_reads_a_boat_swin_from_its_shapes(name: str) -> None:
    config = boat_swin.VARIANTS[name]
    with torch.device("meta"):
        state = BoatSwinTransformer(config).state_dict()
    assert boat_swin.matches(state)
    assert boat_swin.infer(state) == config


@pytest.mark.parametrize("name", boat_cswin.VARIANTS)
def test_infer_reads_a_boat_cswin_from_its_shapes(name: str) -> None:
    config = boat_cswin.VARIANTS[name]
    with torch.device("meta"):
        state = BoatCSwinTransformer(config).state_dict()
    assert boat_cswin.matches(state)
    assert boat_cswin.infer(state) == config


def test_another_window_is_refused() -> None:
    numbers = {"EMBED_DIM": 8, "DEPTHS": [2, 2, 2], "NUM_HEADS": [2, 2, 4], "WINDOW_SIZE": 12}
    config = boat_swin.read_config(
        {"MODEL": {"TYPE": "swin", "NUM_CLASSES": 3, "SWIN": numbers}, "DATA": {"IMG_SIZE": 112}}
    )
    assert config is not None
    with pytest.raises(ShapeError, match="12x12, where BOAT has 7x7"):
        BoatSwinTransformer(config)
