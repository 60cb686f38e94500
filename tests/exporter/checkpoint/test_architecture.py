"""Which model a state dict is of: the library, the family, a variant; what is refused is named by what it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.checkpoint.architecture import (
    OFFICIAL,
    architecture,
    by_our_names,
    comparison_only,
    is_known,
    shape_of,
)
from slide_export.checkpoint.containers import Contents
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.models import COMPARISON, FAMILIES, family_of
from tests.exporter.checkpoint.foreign import golden, write

State = dict[str, Tensor]


def save(content: Any, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "model.pth")
    return tmp_path / "model.pth"


ONE = torch.ones(1)


def timm_names(state: State) -> State:
    renamed = {key.replace("layers.0.downsample", "layers.1.downsample"): value for key, value in state.items()}
    return {key.replace("head.", "head.fc."): value for key, value in renamed.items()}


def without_learned_path(state: State) -> State:
    return {key.replace("attn.qkv", "attn.dep_conv"): value for key, value in state.items()}


WHAT_IT_IS: dict[str, tuple[Callable[[State], Any], str]] = {
    "SwinV2 of timm": (lambda s: {**s, "layers.0.blocks.0.attn.logit_scale": torch.ones(1, 1, 1)}, "found SwinV2"),
    "LoRA": (lambda s: {**s, "layers.0.blocks.0.attn.qkv.lora_A.weight": torch.ones(4, 16)}, "LoRA adapter weights"),
    "quantized": (lambda s: {**s, "head.zero_point": torch.zeros(1)}, "found a quantized checkpoint"),
    "pruned": (
        lambda s: {**s, "head.weight_orig": torch.ones(1), "head.weight_mask": torch.ones(1)},
        r"torch\.nn\.utils\.prune\.remove",
    ),
    "SimMIM": (
        lambda s: (
            {f"encoder.{key}": value for key, value in s.items()}
            | {"encoder.mask_token": torch.zeros(1, 1, 16), "decoder.0.weight": torch.zeros(2)}
        ),
        "a SimMIM pre-training file",
    ),
    "SimMIM without its mask": (
        lambda s: {f"encoder.{key}": value for key, value in s.items() if "head" not in key} | {"decoder.0.bias": ONE},
        "a SimMIM pre-training file",
    ),
    "a backbone with a head of its own": (
        lambda s: (
            {f"backbone.{key}": value for key, value in s.items() if "head" not in key}
            | {"fc.weight": torch.ones(3, 32)}
        ),
        "a backbone with fc beside it, a head of its own code",
    ),
    "a backbone with another head of its own": (
        lambda s: (
            {f"backbone.{key}": value for key, value in s.items() if "head" not in key}
            | {"margin.weight": torch.ones(3, 32)}
        ),
        "a backbone with margin beside it, a head of its own code",
    ),
    "flattened": (lambda _: {"_flat_param": torch.ones(30)}, r"FSDP has flattened: .*FULL_STATE_DICT"),
    "arrays": (lambda s: {key: value.numpy() for key, value in s.items()}, "arrays of numpy in the place of tensors"),
    "a metric": (
        lambda s: {**s, "accuracy.tp": torch.ones(3, dtype=torch.int64)},
        "of type int64, which no weight has",
    ),
    "a tensor alone": (lambda _: torch.ones(3), "found a Tensor"),
    "oblong windows": (
        lambda s: {
            key: torch.ones(35, value.shape[1]) if key.endswith("_table") else value
            for key, value in timm_names(s).items()
            if not key.endswith(("_index", "_mask"))
        },
        r"windows that are no square \(a table of 35 positions\)",
    ),
    "fused": (without_learned_path, "two convolution paths are already fused"),
    "ViT": (
        lambda _: {"blocks.0.attn.qkv.weight": torch.ones(3), "pos_embed": torch.ones(1), "cls_token": torch.ones(1)},
        "found ViT",
    ),
    "ResNet": (lambda _: {"layer1.0.conv1.weight": torch.ones(3), "fc.weight": torch.ones(3)}, "found ResNet"),
    "no head": (
        lambda s: {key: value for key, value in s.items() if "head" not in key},
        r"found no head\.weight: export the file that has it, or the maps of its stages with features",
    ),
    "another head": (
        lambda s: {key.replace("head.", "head.1."): value for key, value in s.items()},
        r"whose head is one linear layer \(head\.weight\), found head\.1\.bias, head\.1\.weight",
    ),
}


@pytest.mark.parametrize("name", WHAT_IT_IS)
def test_what_it_is_and_not_a_list_of_keys(name: str, state: State, tmp_path: Path) -> None:
    change, sentence = WHAT_IT_IS[name]
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(save(change(state), tmp_path))


def test_a_first_shard_and_a_timm_swin_are_not_headless(tmp_path: Path) -> None:
    drawn = golden("timm_swin")
    loaded = load_checkpoint(write(drawn, tmp_path))
    assert (loaded.provenance.format, loaded.config.num_classes) == ("timm (0.9 or later) Swin", 10)


def test_a_classifier_of_openmmlab_is_no_segmenter(tmp_path: Path) -> None:
    drawn = golden("mmpretrain_swin")
    assert load_checkpoint(write(drawn, tmp_path)).provenance.format == "OpenMMLab Swin"
    whole = {
        f"backbone.{key.removeprefix('backbone.')}": value for key, value in drawn.state.items() if "head" not in key
    }
    whole["decode_head.conv_seg.weight"] = torch.zeros(2)
    path = save({"state_dict": whole}, tmp_path)
    with pytest.raises(CheckpointError, match=r"a backbone beside decode_head: .*features"):
        load_checkpoint(path)
    backbone = load_checkpoint(path, features=True)
    assert any("left out, no part of the backbone: decode_head" in note for note in backbone.provenance.notes)


def test_dinat_is_not_taken_for_nat(tmp_path: Path) -> None:
    drawn = golden("hf_dinat")
    path = save(dict(drawn.state), tmp_path)
    with pytest.raises(CheckpointError, match="a DiNAT without its dilations"):
        load_checkpoint(path)


def named(state: State, *, features: bool = False, families: Any = FAMILIES) -> Any:
    """A state dict by its names here; only names, shapes and types are read."""
    like = {name: value.to("meta") for name, value in state.items()}
    contents = Contents({}, (), (), "file", "", "", (), None, {}, {}, (), (), "", ())
    return by_our_names(contents, like, families, {}, features=features)


def test_official_names_are_taken_as_they_are(state: State) -> None:
    found = named(state)
    assert (found.format, found.told, found.notes) == (OFFICIAL, None, ())
    assert {name: origin.keys for name, origin in found.origins.items()} == {name: (name,) for name in state}


@pytest.mark.parametrize("body", ["backbone.", "encoder.", "model."])
def test_a_prefix_before_the_body_alone_is_removed_where_the_rest_is_its_head(body: str, state: State) -> None:
    outside = ("head.", "norm.")
    moved = {name if name.startswith(outside) else body + name: value for name, value in state.items()}
    found = named(moved)
    assert set(found.shapes) == set(state)
    assert found.origins["patch_embed.proj.weight"].keys == (f"{body}patch_embed.proj.weight",)
    assert found.origins["head.weight"].keys == ("head.weight",)
    assert found.notes == (f"removed the prefix {body!r} of the body's names",)
    strange = {**moved, "margin.weight": ONE}
    assert named(strange).notes == ()  # a head of its own: nothing is removed, and it is refused by that name later
    maps = named(strange, features=True)
    assert maps.dropped == ("margin",)
    assert "left out, no part of the backbone: margin" in maps.notes


def test_known_are_models_libraries_names_and_what_is_refused_by_name(state: State) -> None:
    assert is_known(state, FAMILIES)
    assert not is_known(state, [])
    assert is_known([*state, "a.lora_A.weight"], [])
    assert is_known(dict(golden("timm_swin").state), [])
    assert not is_known(["conv.weight", "fc.bias"], FAMILIES)


def test_a_model_for_comparison_is_refused_unless_it_is_asked_for() -> None:
    (family,) = COMPARISON
    with torch.device("meta"):
        weights = dict(family.build(next(iter(family.variants.values()))).state_dict())
    with pytest.raises(CheckpointError, match=comparison_only(family.name)):
        named(weights)
    assert named(weights, families=(*COMPARISON, *FAMILIES)).format == OFFICIAL


def test_a_variant_of_another_family_is_refused_by_both_names(state: State) -> None:
    found = named(state)
    sentence = "expected the keys of a pvt, found those of a swin: leave out variant pvt_tiny, or name a swin"
    with pytest.raises(CheckpointError, match=sentence):
        architecture(found, None, FAMILIES, "pvt_tiny", {}, features=False)
    assert architecture(found, None, FAMILIES, None, {}, features=False).family == family_of("swin_tiny", FAMILIES)


def test_names_of_no_model_are_listed_with_those_that_are_known(state: State) -> None:
    strange = named({"conv.weight": ONE, "fc.bias": ONE})
    with pytest.raises(CheckpointError, match=r"the keys of slide_swin, .*; found conv\.weight, fc\.bias: no known"):
        architecture(strange, None, FAMILIES, None, {}, features=False)
    with pytest.raises(CheckpointError, match="a backbone with nothing beside it"):
        architecture(named({"backbone.conv.weight": ONE}), None, FAMILIES, None, {}, features=False)


def test_a_head_may_be_missing_where_maps_are_wanted(state: State) -> None:
    body = named({name: value for name, value in state.items() if not name.startswith("head.")})
    with pytest.raises(CheckpointError, match=r"found no head\.weight"):
        architecture(body, None, FAMILIES, None, {}, features=False)
    assert architecture(body, None, FAMILIES, None, {}, features=True).config.num_classes == 0


def test_shapes_are_written_as_people_do() -> None:
    assert [shape_of(torch.zeros(shape)) for shape in ((), (3,), (2, 0, 4))] == ["[]", "[3]", "[2, 0, 4]"]
