"""Norms of maps: each stage's own, the last stage's the classifier's, and none where none is asked for."""

import torch
from torch import nn

from slide_export.models.feature_norms import FeatureNorms


def normed(*stages: int) -> FeatureNorms:
    module = FeatureNorms()
    module.norm = nn.LayerNorm(8)
    module.add_feature_norms(stages, (2, 4, 8), eps=1e-3)
    return module


def test_each_stage_has_a_norm_but_the_last_whose_is_the_classifiers() -> None:
    assert {name for name, _ in normed(0, 2).named_children()} == {"norm", "norm0"}
    assert {name for name, _ in normed().named_children()} == {"norm"}
    norm = normed(1).get_submodule("norm1")
    assert isinstance(norm, nn.LayerNorm)
    assert (norm.eps, norm.normalized_shape) == (1e-3, (4,))


def test_a_map_is_normed_where_its_stage_has_a_norm() -> None:
    module, x = normed(0, 2), torch.arange(8.0)
    with torch.no_grad():
        module.norm.bias.fill_(5)
        assert module.normed(x, 2).mean().round().item() == 5
        assert torch.equal(module.normed(x[:4], 1), x[:4])
        assert module.normed(x[:2], 0).mean().abs() < 1e-6  # not the classifier's
        assert torch.equal(normed(0).normed(x, 2), x)
