"""What tells the dialects of GAM apart: a sigmoid, groups, a shuffle, an edge that is repeated."""

import pytest
import torch
from torch import nn

from slide_export.models.global_attention import (
    DIALECTS,
    SHUFFLED,
    EdgeGlobalAttention,
    GlobalAttention,
    attention,
    shuffle,
    weigh,
)


def test_a_shuffle_moves_each_groups_channels_apart() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1, 1)
    assert shuffle(x, 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert shuffle(x, 1).flatten().tolist() == list(range(8))
    assert torch.equal(shuffle(shuffle(x, 4), 2), x)
    assert SHUFFLED == 4


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_channels_weight_is_a_sigmoid_in_one_dialect_alone(dialect: str) -> None:
    x, channel = torch.full((1, 4, 1, 1), 3.0), torch.full((1, 4, 1, 1), 2.0)
    found = weigh(x, channel, nn.Identity(), dialect)
    weighed = 3 * (torch.tensor(2.0).sigmoid() if dialect == "a" else torch.tensor(2.0))
    assert torch.allclose(found, (weighed * weighed.sigmoid()).expand(1, 4, 1, 1))


def test_spatial_weights_are_shuffled_in_dialect_b() -> None:
    x = torch.arange(1.0, 9.0).reshape(1, 8, 1, 1)
    found = weigh(x, torch.ones(1, 8, 1, 1), nn.Identity(), "b")
    assert torch.allclose(found, x * shuffle(x.sigmoid(), 4))


@pytest.mark.parametrize(("dialect", "groups"), [("a", 1), ("a_plain", 1), ("b", 4)])
def test_dialect_b_has_as_many_groups_as_its_rate(dialect: str, groups: int) -> None:
    made = attention(16, 4, dialect)
    assert isinstance(made, GlobalAttention)
    assert [layer.groups for layer in made.spatial_attention if isinstance(layer, nn.Conv2d)] == [groups, groups]
    assert made.state_dict()["channel_attention.0.weight"].shape == (4, 16)


def test_dialect_c_repeats_the_edge() -> None:
    made = attention(8, 4, "c")
    assert isinstance(made, EdgeGlobalAttention)
    assert (made.conv1.padding_mode, made.conv2.padding_mode) == ("replicate", "replicate")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_fused_form_is_the_trained_one(dialect: str) -> None:
    torch.manual_seed(0)
    made = attention(16, 4, dialect).double().eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x = torch.randn(1, 16, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        assert (made.fuse()(x) - made(x)).abs().max() < 1e-12  # type: ignore[operator]
