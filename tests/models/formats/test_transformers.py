"""transformers' config.json, field by field, and the names of its two dialects."""

from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.formats import rename
from slide_export.models.formats.format import Beside
from slide_export.models.formats.transformers import (
    DINAT_FORMAT,
    FORMATS,
    NAT,
    NAT_FORMAT,
    NEW_QUERY,
    OLD_QUERY,
    PVT_V2,
    SWIN,
    SWIN_IN_MEMORY,
    read_dinat,
    read_nat,
    read_pvt,
    read_pvt_v2,
    read_swin,
    swin_rules,
)

from .swin_shapes import swin_shapes

NAT_KEY = "encoder.levels.0.layers.1.attention.self.rpb"


def beside(model_type: str = "swin", **config: Any) -> Beside:
    return Beside({"model_type": model_type, **config})


def matching(*keys: str) -> list[str]:
    return [one.name for one in (*FORMATS, NAT_FORMAT) if one.matches(keys)]


def test_each_model_is_told_by_one_name() -> None:
    assert matching(OLD_QUERY) == ["transformers Swin"]
    assert matching(NEW_QUERY) == ["transformers Swin (names of 5.x in memory)"]
    assert matching("encoder.patch_embeddings.0.projection.weight") == ["transformers PVT"]
    assert matching("encoder.layers.0.patch_embedding.proj.weight") == ["transformers PVTv2"]
    assert matching(NAT_KEY) == ["transformers NAT"]
    assert matching("encoder.layer.0.attention.attention.query.weight") == []


def test_both_dialects_join_queries_keys_and_values() -> None:
    old = [f"encoder.layers.1.blocks.0.attention.self.{part}.bias" for part in ("query", "key", "value")]
    new = [f"encoder.layers.1.blocks.0.attention.{part}_proj.bias" for part in "qkv"]
    for blocks, keys in ((SWIN, old), (SWIN_IN_MEMORY, new)):
        (name, origin) = next(iter(rename(swin_rules(blocks)(keys), keys).origins.items()))
        assert (name, list(origin.keys)) == ("layers.1.blocks.0.attn.qkv.bias", keys)


def test_a_backbone_norms_its_maps_and_drops_the_last_norm() -> None:
    keys = [OLD_QUERY.replace("layers.0", "layers.1"), "layernorm.weight"]
    assert "norm.weight" in rename(swin_rules(SWIN)(keys[1:]), keys[1:]).origins
    norms = [f"hidden_states_norms.stage{stage}.weight" for stage in (1, 2)]
    renamed = rename(swin_rules(())([*keys, *norms]), [*norms, "layernorm.weight"])
    assert {name: origin.keys[0] for name, origin in renamed.origins.items()} == {
        "norm0.weight": norms[0],
        "norm.weight": norms[1],  # of the last of two stages
    }
    assert renamed.dropped == ("layernorm.weight",)
    with pytest.raises(ShapeError, match="the map of its stem"):
        swin_rules(SWIN)([*keys, "hidden_states_norms.stem.weight"])


def test_both_scales_of_a_nat_are_rows_of_one() -> None:
    key = "encoder.levels.0.layers.1.layer_scale_parameters"
    origins = rename(NAT, [key]).origins
    scales = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert origins["levels.0.blocks.1.gamma1"]({key: scales}).tolist() == [1, 1]
    assert origins["levels.0.blocks.1.gamma2"]({key: scales}).tolist() == [2, 2]


def test_stages_of_a_pvtv2_are_counted_from_one_here() -> None:
    keys = ["encoder.layers.0.patch_embedding.proj.bias", "encoder.layers.3.blocks.2.mlp.dwconv.dwconv.bias"]
    assert rename(PVT_V2, keys).origins.keys() == {"patch_embed1.proj.bias", "block4.2.mlp.dwconv.dwconv.bias"}


def test_without_a_configuration_the_defaults_are_assumed_aloud() -> None:
    told = read_swin(swin_shapes(), Beside())
    assert (told.fields["image_size"], told.fields["small_maps"]) == ((224, 224), "joint")
    assert told.guessed == {"image_size"}
    assert any(one.startswith("no config.json") for one in told.assumed)
    assert (told.source, len(told.images_assumed)) == ("", 1)
    assert 0.0 in told.filled.values()  # a model made without biases has none, and its names tell


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({"image_size": [192, 224]}, "image_size", (192, 224)),
        ({"window_size": 6}, "window", (6, 6)),
        ({"layer_norm_eps": 0.0}, "norm_eps", 0.0),
        ({"hidden_act": "relu"}, "activation", "relu"),
        ({"mlp_ratio": 2.0}, "mlp_ratio", 2.0),
        ({"embed_dim": 9}, "embed_dim", 9),
        ({"depths": [2, 2]}, "depths", (2, 2)),
        ({"num_heads": [2, 2]}, "heads", (2, 2)),
        ({"patch_size": [4, 4], "num_channels": 3}, "resized_window", "keep"),
    ],
)
def test_fields_of_a_swin(config: dict[str, Any], field: str, value: Any) -> None:
    told = read_swin(swin_shapes(), beside(**config))
    assert told.fields[field] == value
    assert told.source == "config.json"
    assert ("image_size" in told.guessed) == ("image_size" not in config)


def test_a_cut_window_tells_the_input_for_certain() -> None:
    assert read_swin(swin_shapes(image_size=(192, 192)), beside()).guessed == frozenset()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"patch_size": 2}, "patch_size 2"),
        ({"num_channels": 1}, "num_channels 1"),
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings True"),
        ({"hidden_act": "gelu_fast"}, "hidden_act 'gelu_fast'"),
        ({"quantization_config": {"a": 1}}, "quantization_config"),
        ({"layer_norm_eps": -1e-9}, "layer_norm_eps -1e-09"),
        ({"num_labels": 9}, "num_labels 9 .* where the tensors have 10"),
        ({"qkv_bias": False}, "qkv_bias False"),
        ({"id2label": {"0": "a", "2": "b"}}, r"id2label \[0, 2\]"),
        ({"id2label": {"1": "a", "2": "b"}}, r"id2label \[1, 2\]"),
        ({"id2label": {"-1": "a"}}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
    ],
)
def test_fields_of_another_swin_are_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_swin(swin_shapes(), beside(**config))


@pytest.mark.parametrize(("model_type", "accepted"), [("swin", True), ("swin-backbone", True), ("swinv2", False)])
def test_the_model_type_is_one_of_the_readers(model_type: str, accepted: bool) -> None:
    if accepted:
        assert read_swin(swin_shapes(), beside(model_type)).source == "config.json"
    else:
        with pytest.raises(ShapeError, match=r"model_type 'swinv2' .* 'swin' or 'swin-backbone'"):
            read_swin(swin_shapes(), beside(model_type))


def test_biases_that_the_names_do_not_have_are_zeros() -> None:
    without = {key: value for key, value in swin_shapes().items() if not key.endswith("qkv.bias")}
    assert 0.0 in read_swin(without, beside(qkv_bias=False)).filled.values()
    assert read_swin(without, beside(qkv_bias=True)).filled == {}


@pytest.mark.parametrize(
    ("named", "labels"),
    [
        ({"0": "cat", "1": "dog"}, ("cat", "dog")),
        ({1: "dog", 0: "cat"}, ("cat", "dog")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, ("told",)),
        ({"0": "LABEL_1", "1": "LABEL_0"}, ("LABEL_1", "LABEL_0")),
        ({}, ("told",)),
    ],
)
def test_class_names_are_those_of_the_configuration_before_a_frameworks(named: Any, labels: tuple[str, ...]) -> None:
    told = read_swin(swin_shapes(), Beside({"model_type": "swin", "id2label": named}, labels=("told",)))
    assert told.labels == labels


def test_fields_that_are_not_known_are_said_up_to_eight() -> None:
    told = read_swin(swin_shapes(), beside(**{f"x{number}": 0 for number in range(9)}, _name="a"))
    assert [one for one in told.assumed if "also has" in one] == [
        "config.json also has x0, x1, x2, x3, x4, x5, x6, x7: taken for what changes no output"
    ]


def test_a_backbone_shifts_a_map_of_one_window_and_hands_on_what_it_norms() -> None:
    state = swin_shapes(head=False, feature_norms=(1,))
    named = Beside({"model_type": "swin-backbone", "architectures": ["SwinBackbone"]})
    for told in (read_swin(state, named), read_swin(state, Beside(names=["hidden_states_norms.stage2.weight"]))):
        fields = told.fields
        assert (fields["feature_norms"], fields["feature_stages"]) == ((1, 3), (1, 3))
        assert fields["small_maps"] == "pad-and-shift"
    short = swin_shapes(head=False, norm=False, feature_norms=(1,))
    assert read_swin(short, named).fields["feature_stages"] == (1,)


def pyramid() -> dict[str, Tensor]:
    return {"head.weight": torch.empty(10, 8, device="meta")}


def test_a_pyramid_has_one_epsilon_for_every_norm() -> None:
    config = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_attention_heads": [1, 2], "mlp_ratios": [8, 4]}
    told = read_pvt(pyramid(), beside("pvt", **config, sequence_reduction_ratios=[8, 4], sr_ratios=[9, 9]))
    assert told.fields == {
        "embed_dims": (8, 16),
        "depths": (1, 1),
        "heads": (1, 2),
        "mlp_ratios": (8, 4),
        "reductions": (8, 4),
        "norm_eps": 1e-6,
        "embed_eps": 1e-6,
        "reduced_eps": 1e-6,
    }
    assert set(read_pvt(pyramid(), beside("pvt", layer_norm_eps=1e-5)).fields.values()) == {1e-5}


@pytest.mark.parametrize(
    ("name", "value"),
    [("patch_sizes", [4, 2, 2, 1]), ("strides", [4, 2, 2, 4]), ("hidden_act", "relu"), ("model_type", "pvt_v2")],
)
def test_a_pvt_that_is_not_published_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=name):
        read_pvt(pyramid(), Beside({"model_type": "pvt", name: value}))


@pytest.mark.parametrize(("name", "value"), [("patch_sizes", [4, 3, 3, 3]), ("strides", [4, 2, 2, 1])])
def test_a_pvtv2_that_is_not_published_is_refused(name: str, value: Any) -> None:
    read_pvt_v2({}, beside("pvt_v2", patch_sizes=[7, 3, 3, 3], strides=[4, 2, 2, 2]))
    with pytest.raises(ShapeError, match=name):
        read_pvt_v2({}, beside("pvt_v2", **{name: value}))


def test_a_linear_pvtv2_and_its_ratios() -> None:
    fields = read_pvt_v2({}, beside("pvt_v2", linear_attention=1, sr_ratios=[8, 4, 2, 1])).fields
    assert (fields["linear"], fields["reductions"]) == (True, (8, 4, 2, 1))
    assert "linear" not in read_pvt_v2({}, beside("pvt_v2")).fields


@pytest.mark.parametrize(
    ("told", "stages"), [({}, (3,)), ({"out_features": ["stage4", "stage1"]}, (0, 3)), ({"out_features": []}, (3,))]
)
def test_a_backbone_hands_on_the_stages_of_its_out_features(told: dict[str, Any], stages: tuple[int, ...]) -> None:
    config = {"architectures": ["PvtV2Backbone"], **told}
    assert read_pvt_v2({}, beside("pvt_v2", **config)).fields["feature_stages"] == stages
    assert "feature_stages" not in read_pvt_v2({}, beside("pvt_v2", **told)).fields


@pytest.mark.parametrize("name", ["stem", "stage0", "stage5", "stage10", "xstage1"])
def test_an_out_feature_that_is_no_stage_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="out_features"):
        read_pvt_v2({}, beside("pvt_v2", architectures=["PvtV2Backbone"], out_features=["stage1", name]))


def test_fields_of_a_nat() -> None:
    config = {"kernel_size": 7, "num_heads": [2, 4], "mlp_ratio": 3.0, "layer_norm_eps": 1e-5, "hidden_act": "relu"}
    fields = read_nat({}, beside("nat", **config)).fields
    assert fields == {
        "kernel_size": 7,
        "heads": (2, 4),
        "mlp_ratio": 3.0,
        "norm_eps": 1e-5,
        "activation": "relu",
    }
    with pytest.raises(ShapeError, match="patch_size 8"):
        read_nat({}, beside("nat", patch_size=8))
    with pytest.raises(ShapeError, match="model_type 'dinat'"):
        read_nat({}, beside("dinat"))


def test_the_dilations_of_a_dinat_stand_in_its_configuration_alone() -> None:
    assert (DINAT_FORMAT.family, DINAT_FORMAT.rules) == ("nat", NAT)
    assert read_dinat({}, beside("dinat", dilations=[[1, 8], [1]])).fields["dilations"] == ((1, 8), (1,))
    for config in (Beside(), beside("dinat")):
        with pytest.raises(ShapeError, match="a DiNAT without its dilations"):
            read_dinat({}, config)
