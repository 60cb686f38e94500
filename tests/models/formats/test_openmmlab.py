"""OpenMMLab's Swin, PVTs, Twins and MViTv2: names, arguments, and whose blocks a file without a configuration has."""

from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.formats import rename
from slide_export.models.formats.format import Beside
from slide_export.models.formats.openmmlab import (
    ARCHITECTURES,
    MVIT_MODELLED,
    PVT,
    PVT_V2,
    TWINS,
    is_mvit,
    is_pvt,
    is_pvt_v2,
    is_swin,
    is_twins,
    read_mvit,
    read_pyramid,
    read_swin,
    read_twins,
    swin_rules,
)

from .swin_shapes import swin_shapes

W_MSA = "stages.0.blocks.0.attn.w_msa.qkv.weight"
PATCHES = "layers.0.0.projection.weight"


def beside(kind: str = "SwinTransformer", *, writer: str = "", model: Any = None, **backbone: Any) -> Beside:
    return Beside({"model": {"backbone": {"type": kind, **backbone}, **(model or {})}}, writer=writer)


def test_each_model_is_told_by_its_names() -> None:
    assert is_swin([W_MSA])
    assert not is_swin(["stages.0.blocks.0.attn.qkv.weight"])
    assert is_pvt([PATCHES, "layers.0.1.0.pos_embed"])
    assert not is_pvt([PATCHES, "layers.0.2.weight"])
    assert not is_pvt(["layers.0.1.0.pos_embed"])
    assert is_pvt_v2([PATCHES, "layers.0.2.weight"])
    assert not is_pvt_v2([PATCHES])
    assert not is_pvt_v2(["layers.0.2.weight"])
    assert is_twins(["patch_embeds.0.projection.weight", "position_encodings.0.proj.weight"])
    assert not is_twins(["patch_embeds.0.projection.weight"])
    assert is_mvit(["patch_embed.projection.weight", "blocks.0.attn.pool_q.weight"])
    assert not is_mvit(["patch_embed.proj.weight", "blocks.0.attn.pool_q.weight"])


@pytest.mark.parametrize("stages", [2, 4])
def test_the_norm_of_a_swins_last_stage_is_the_classifiers(stages: int) -> None:
    keys = [f"stages.{stage}.blocks.0.norm1.bias" for stage in range(stages)]
    norms = [f"norm{stage}.weight" for stage in range(stages)]
    renamed = rename(swin_rules(keys), norms).origins
    assert renamed["norm.weight"].keys == (norms[-1],)
    assert renamed["norm0.weight"].keys == (norms[0],)


def test_numbers_of_a_pyramids_blocks() -> None:
    """A PVT's positions are block 0 of a stage, so its blocks begin at 1; a PVTv2's begin at 0."""
    assert rename(PVT, ["layers.0.1.1.norm1.bias"]).origins.keys() == {"block1.0.norm1.bias"}
    assert rename(PVT_V2, ["layers.3.1.1.norm1.bias"]).origins.keys() == {"block4.1.norm1.bias"}
    assert rename(PVT_V2, ["layers.2.2.bias"]).origins.keys() == {"norm3.bias"}


def test_a_joint_projection_is_parted() -> None:
    key = "layers.0.1.1.attn.attn.in_proj_bias"
    origins = rename(PVT, [key]).origins
    rows = {key: torch.arange(6.0)}
    assert origins["block1.0.attn.q.bias"](rows).tolist() == [0, 1]
    assert origins["block1.0.attn.kv.bias"](rows).tolist() == [2, 3, 4, 5]


def test_names_of_a_twins() -> None:
    keys = ["norm_after_stage3.bias", "norm_after_stage1.bias", "position_encodings.2.proj.bias"]
    assert set(rename(TWINS, keys).origins) == {"norm.bias", "norm_after_stage1.bias", "pos_block.2.proj.0.bias"}


def test_without_a_configuration_the_input_is_a_guess() -> None:
    told = read_swin(swin_shapes(), Beside())
    assert (told.fields["image_size"], told.fields["window"], told.source) == ((224, 224), (7, 7), "")
    assert told.guessed == {"image_size"}
    named = read_swin(swin_shapes(), beside(img_size=192))
    assert (named.fields["image_size"], named.guessed) == ((192, 192), frozenset())
    assert named.source


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ({"arch": "tiny"}, "depths", (2, 2, 6, 2)),
        ({"arch": "b"}, "embed_dim", 128),
        ({"arch": "l"}, "heads", (6, 12, 24, 48)),
        ({"arch": {"embed_dims": 16, "depths": [1, 1], "num_heads": [1, 2]}}, "depths", (1, 1)),
        ({"arch": {"embed_dims": 16}, "embed_dims": 32}, "embed_dim", 32),
        ({"window_size": 6}, "window", (6, 6)),
        ({"pretrain_img_size": 256, "window_size": 8}, "image_size", (256, 256)),
        ({"img_size": 224, "pretrain_img_size": 256}, "image_size", (256, 256)),
    ],
)
def test_arguments_of_a_swin(arguments: dict[str, Any], field: str, value: Any) -> None:
    assert read_swin(swin_shapes(), beside(**arguments)).fields[field] == value


def test_published_sizes_have_the_published_numbers() -> None:
    """The paper's table 7: C = 96, 96, 128, 192 and a third stage of 6 or 18 blocks, 32 channels a head."""
    numbers = {name: (width, depths[2]) for name, (width, depths, _) in ARCHITECTURES.items()}
    assert numbers == {"tiny": (96, 6), "small": (96, 18), "base": (128, 18), "large": (192, 18)}
    assert all(width << stage == 32 * heads[stage] for width, _, heads in ARCHITECTURES.values() for stage in range(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ape", True),
        ("stage_cfgs", {"block_cfgs": {}}),
        ("patch_cfg", {"a": 1}),
        ("patch_size", 2),
        ("in_channels", 1),
        ("use_abs_pos_embed", True),
        ("patch_norm", False),
        ("act_cfg", {"type": "ReLU"}),
        ("norm_cfg", {"type": "BN"}),
        ("qk_scale", 0.1),
        ("out_after_downsample", True),
        ("strides", [4, 2, 2, 1]),
        ("arch", "huge"),
        ("dilations", 1),
    ],
)
def test_an_argument_of_another_swin_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=rf"^{name} "):
        read_swin(swin_shapes(), beside(**{name: value}))


@pytest.mark.parametrize(
    ("beside_", "head", "norms", "small_maps", "guessed"),
    [
        (beside(pad_small_map=True), True, (), "pad-and-shift", False),
        (beside(pad_small_map=False, writer="mmdet"), False, (), "joint", False),
        (beside(writer="mmpretrain"), False, (), "joint", False),
        (beside(writer="mmcls"), False, (), "joint", False),
        (beside(writer="mmseg"), False, (), "pad-and-shift", False),
        (beside(writer="mmdet"), True, (), "pad-and-shift", False),
        (Beside(), True, (0,), "joint", False),
        (beside(arch={"embed_dims": 8}), False, (0,), "joint", False),
        (Beside(), False, (0,), "pad-and-shift", True),
        (Beside(), False, (), "joint", True),
    ],
)
def test_whose_blocks_these_are(
    beside_: Beside, head: bool, norms: tuple[int, ...], small_maps: str, guessed: bool
) -> None:
    told = read_swin(swin_shapes(head=head, feature_norms=norms), beside_)
    assert told.fields["small_maps"] == small_maps
    assert any("no file tells whose backbone" in one for one in told.assumed) == guessed


def test_maps_with_a_norm_are_handed_on_by_a_backbone_alone() -> None:
    body = read_swin(swin_shapes(head=False, feature_norms=(1,)), Beside()).fields
    assert (body["feature_norms"], body["feature_stages"]) == ((1, 3), (1, 3))
    short = read_swin(swin_shapes(head=False, norm=False, feature_norms=(1,)), Beside()).fields
    assert short["feature_stages"] == (1,)
    assert "feature_stages" not in read_swin(swin_shapes(), Beside()).fields


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"neck": {"type": "GlobalAveragePooling"}, "head": {"num_classes": 10}},
        {"neck": {"type": "mmpretrain.GlobalAveragePooling"}, "head": {"type": "LinearClsHead"}},
    ],
)
def test_a_pooling_neck_and_a_linear_head_are_taken(model: dict[str, Any]) -> None:
    assert read_swin(swin_shapes(), beside(model=model)).source


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"neck": None}, "neck None"),
        ({"neck": {"type": "GeneralizedMeanPooling"}}, "neck .* where GlobalAveragePooling"),
        ({"head": {"num_classes": 9}}, "num_classes 9 .* where 10, which the head has"),
    ],
)
def test_other_ends_of_a_classifier_are_refused(model: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read_swin(swin_shapes(), beside(model=model))
    assert read_swin(swin_shapes(head=False), beside(model=model)).source  # no classifier: not read


def test_another_backbone_is_refused_by_name() -> None:
    assert read_swin(swin_shapes(), beside("mmdet.SwinTransformer")).source
    with pytest.raises(ShapeError, match=r"backbone 'SwinTransformerV2' .* where SwinTransformer is"):
        read_swin(swin_shapes(), beside("SwinTransformerV2"))


def pyramid_shapes(*, second: bool) -> dict[str, Tensor]:
    widths = (8, 16, 40, 64)
    state = {f"patch_embed{n}.proj.weight": torch.empty(w, 3, device="meta") for n, w in enumerate(widths, start=1)}
    return state | {"norm4.weight" if second else "pos_embed1": torch.empty(1, device="meta")}


def test_heads_of_a_pyramid_are_its_widths_over_the_first_unless_told() -> None:
    told = read_pyramid(pyramid_shapes(second=False), Beside())
    assert told.fields == {
        "heads": (1, 2, 5, 8),
        "norm_eps": 1e-6,
        "embed_eps": 1e-6,
        "reduced_eps": 1e-6,
        "class_token": False,
    }
    assert told.guessed == {"heads"}
    named = read_pyramid(pyramid_shapes(second=False), beside("PyramidVisionTransformer", num_heads=[2, 2, 2, 2]))
    assert (named.fields["heads"], named.guessed) == ((2, 2, 2, 2), frozenset())


def test_a_pvtv2_tells_no_input() -> None:
    told = read_pyramid(pyramid_shapes(second=True), beside("PyramidVisionTransformerV2", out_indices=(3, 0)))
    assert (told.fields["feature_stages"], "class_token" in told.fields) == ((0, 3), False)
    assert told.guessed == {"image_size", "heads"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("act_cfg", {"type": "ReLU"}), ("norm_cfg", {"type": "LN"}), ("out_indices", (0, 4)), ("ape", False)],
)
def test_an_argument_of_another_pyramid_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=rf"^{name} "):
        read_pyramid(pyramid_shapes(second=True), beside("PyramidVisionTransformerV2", **{name: value}))


def test_the_two_pyramids_are_not_taken_for_each_other() -> None:
    with pytest.raises(ShapeError, match=r"backbone 'PyramidVisionTransformer' .* where PyramidVisionTransformerV2 is"):
        read_pyramid(pyramid_shapes(second=True), beside("PyramidVisionTransformer"))
    with pytest.raises(ShapeError, match="backbone 'PyramidVisionTransformerV2'"):
        read_pyramid(pyramid_shapes(second=False), beside("PyramidVisionTransformerV2"))


def twins_shapes(*widths: int, windows: bool = True) -> dict[str, Tensor]:
    state = {f"patch_embeds.{n}.proj.weight": torch.empty(w, 3, device="meta") for n, w in enumerate(widths)}
    return state | ({"blocks.0.0.attn.qkv.weight": torch.empty(1, device="meta")} if windows else {})


def test_windows_of_a_twins_are_published_or_told() -> None:
    published = read_twins(twins_shapes(64, 128, 256, 512), beside("SVT"))
    assert published.fields == {"norm_eps": 1e-5, "padding": "mask", "refuse_remainder": True}
    assert (published.guessed, published.source) == ({"image_size"}, "")
    told = beside("SVT", arch={"num_heads": [1, 2], "window_sizes": [7, 7]})
    assert read_twins(twins_shapes(8, 16), told).fields["windows"] == (7, 7)
    assert read_twins(twins_shapes(8, 16, windows=False), beside("PCPVT", arch="small")).fields["padding"] == "mask"
    with pytest.raises(ShapeError, match=r"widths \(8, 16\), of whose windows nothing is told"):
        read_twins(twins_shapes(8, 16), beside("SVT", arch={"num_heads": [1, 2]}))


@pytest.mark.parametrize(("name", "value"), [("norm_cfg", {"type": "BN"}), ("in_channels", 4), ("dropout", 0)])
def test_an_argument_of_another_twins_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ShapeError, match=name):
        read_twins(twins_shapes(64, 128, 256, 512), beside("SVT", **{name: value}))


def test_an_mvitv2_is_the_published_form_or_refused() -> None:
    assert read_mvit({}, beside("MViT", **{name: values[0] for name, values in MVIT_MODELLED.items()})).fields == {}
    for name in MVIT_MODELLED:
        with pytest.raises(ShapeError, match=rf"^{name} "):
            read_mvit({}, beside("MViT", **{name: "another"}))
    with pytest.raises(ShapeError, match=r"pool_stride 2 .* no such argument"):
        read_mvit({}, beside("MViT", pool_stride=2))


def test_a_pipelines_guess_is_an_assumption_apart() -> None:
    """What the library's default is, whoever says it, is no assumption of the architecture's."""
    told = read_swin(swin_shapes(), Beside())
    assert (len(told.images_assumed), told.images) == (1, {})
    scenes = {"test_pipeline": [{"type": "Resize", "scale": [64, 64], "keep_ratio": True}]}
    piped = read_swin(swin_shapes(), Beside(scenes))
    assert (piped.images_assumed, "resize" in piped.images) == ((), True)
    assert any("whole scenes" in one for one in piped.assumed)
