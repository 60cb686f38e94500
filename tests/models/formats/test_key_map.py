"""Key maps: every key once, every tensor where it belongs, and the permutation of OpenMMLab's patch merging."""

import pytest
import torch
from torch import nn

from slide_export.models.family import ShapeError
from slide_export.models.formats import FORMATS, recognise, rename
from slide_export.models.formats.key_map import Rule, columns_by_place, joined, layer, layers
from slide_export.models.layers import PatchMerging
from tests.exporter.checkpoint.foreign import NAMES, golden


def test_rules_count_join_and_drop() -> None:
    rules = (
        layer("stages.{s}.down", "layers.{s-1}.downsample"),
        layers(("b.{s}.q", "b.{s}.k"), "blocks.{s}.qk"),
        Rule("index.{x}"),
    )
    keys = ["stages.1.down.weight", "b.0.q.bias", "b.0.k.bias", "index.0", "other"]
    renamed = rename(rules, keys)
    assert renamed.origins.keys() == {"layers.0.downsample.weight", "blocks.0.qk.bias"}
    assert renamed.origins["blocks.0.qk.bias"].keys == ("b.0.q.bias", "b.0.k.bias")
    assert (renamed.dropped, renamed.unknown) == (("index.0",), ("other",))
    made = renamed.origins["blocks.0.qk.bias"]({"b.0.q.bias": torch.ones(2), "b.0.k.bias": torch.zeros(1)})
    assert made.tolist() == [1, 1, 0]


def test_a_source_that_is_missing_or_used_twice_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"b\.0\.q\.weight without b\.0\.k\.weight"):
        rename((layers(("b.{s}.q", "b.{s}.k"), "c.{s}", joined),), ["b.0.q.weight"])
    with pytest.raises(ShapeError, match="the same tensor"):
        rename((layer("a", "c"), layer("b", "c")), ["a.weight", "b.weight"])


def test_patch_merging_reads_unfold_order() -> None:
    """The same merging with nn.Unfold's channels and a permuted layer, computed without the map."""
    torch.manual_seed(0)
    theirs_norm, theirs = nn.LayerNorm(12), nn.Linear(12, 6, bias=False)
    with torch.no_grad():
        theirs_norm.weight.normal_()
        theirs_norm.bias.normal_()
    x = torch.randn(2, 4, 6, 3)  # [B, H, W, C]
    unfolded = nn.functional.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)  # [B, H/2*W/2, 4C]
    expected = theirs(theirs_norm(unfolded)).reshape(2, 2, 3, 6)
    ours = PatchMerging(3)
    ours.load_state_dict(
        {
            "reduction.weight": columns_by_place(theirs.weight.detach()),
            "norm.weight": columns_by_place(theirs_norm.weight.detach()),
            "norm.bias": columns_by_place(theirs_norm.bias.detach()),
        }
    )
    assert torch.allclose(ours(x), expected, atol=1e-6)
    unpermuted = PatchMerging(3)
    unpermuted.load_state_dict(
        {"reduction.weight": theirs.weight, "norm.weight": theirs_norm.weight, "norm.bias": theirs_norm.bias}
    )
    assert (unpermuted(x) - expected).abs().max() > 0.1  # the shapes agree, the model does not


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_every_library_is_used_once(name: str) -> None:
    state = golden(name).state
    found = recognise(state.keys())
    if found is None:
        assert name in ("timm_0_6_swin", "timm_twins_pcpvt", "torchvision_swin_v2")  # official names, or refused
        return
    renamed = rename(found.format.key_map(found.keys), found.keys)
    used = [key for origin in renamed.origins.values() for key in origin.keys]
    assert renamed.unknown == ()
    assert set(used) | set(renamed.dropped) == set(found.keys)
    shared = [key for key in used if used.count(key) > 1]
    assert all("in_proj" in key or key.endswith("layer_scale_parameters") for key in shared)  # parted, not repeated


def test_no_two_formats_take_the_same_names() -> None:
    for name in NAMES:
        keys = golden(name).state.keys()
        found = recognise(keys)
        if found is not None:
            taking = {fmt.name for fmt in FORMATS if fmt.matches(found.keys.keys())}
            assert taking - {"transformers NAT", "transformers DiNAT"} <= {found.format.name}
