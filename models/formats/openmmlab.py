"""OpenMMLab: Swin of mmpretrain, mmsegmentation and mmdetection, PVT and PVTv2 of mmdetection, Twins, MViTv2.

Patch merging joins neighbours in nn.Unfold's order, so its weights are permuted: the shapes agree without it and the
model is another one. Source: mmpretrain 1.2.0, models/backbones/swin_transformer.py and models/utils/attention.py,
ShiftWindowMSA; mmsegmentation 1.2.2, models/backbones/swin.py; mmdetection 3.3.0, models/backbones/swin.py and pvt.py.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models.family import ShapeError, State
from slide_export.models.twins import HEADS

from .format import UNTOLD, Beside, Format, Told, expect, handed_on, pair, refuse_field, untold_input
from .key_map import Rule, as_linear, columns_by_place, first_third, last_thirds, layer
from .openmmlab_images import WHERE, images_told, read_images
from .shapes import feature_norms, has, last_norm, swin_fields

PVT_TYPE = "PyramidVisionTransformer"
CLASSIFIERS = ("mmpretrain", "mmcls")

QKV_BIAS = {r".*\.attn\.(qkv|q|kv)\.bias": 0.0}  # of models made with qkv_bias=False
BLOCK, OURS = "stages.{s}.blocks.{j}", "layers.{s}.blocks.{j}"


def swin_rules(keys: Collection[str]) -> tuple[Rule, ...]:
    """The key map of a Swin; `norm{n}` of its last stage is the classifier's norm."""
    last = max((int(m[1]) for key in keys if (m := re.match(r"stages\.(\d+)\.", key))), default=3)
    return (
        layer("patch_embed.projection", "patch_embed.proj"),
        layer("patch_embed.norm", "patch_embed.norm"),
        Rule(f"{BLOCK}.attn.w_msa.{{x}}", f"{OURS}.attn.{{x}}"),
        layer(f"{BLOCK}.ffn.layers.0.0", f"{OURS}.mlp.fc1"),
        layer(f"{BLOCK}.ffn.layers.1", f"{OURS}.mlp.fc2"),
        layer(f"{BLOCK}.norm1", f"{OURS}.norm1"),
        layer(f"{BLOCK}.norm2", f"{OURS}.norm2"),
        layer("stages.{s}.downsample.reduction", "layers.{s}.downsample.reduction", columns_by_place),
        layer("stages.{s}.downsample.norm", "layers.{s}.downsample.norm", columns_by_place),
        layer(f"norm{last}", "norm"),
        Rule("norm{s}.{x}", "norm{s}.{x}"),
        layer("head.fc", "head"),
    )


def _pyramid_block(theirs: str, ours: str, second: str) -> tuple[Rule, ...]:
    projection = f"{theirs}.attn.attn.in_proj"
    return (
        *(
            Rule(f"{projection}_{kind}", {f"{ours}.attn.q.{kind}": first_third, f"{ours}.attn.kv.{kind}": last_thirds})
            for kind in ("weight", "bias")
        ),
        layer(f"{theirs}.attn.attn.out_proj", f"{ours}.attn.proj"),
        layer(f"{theirs}.attn.sr", f"{ours}.attn.sr"),
        layer(f"{theirs}.attn.norm", f"{ours}.attn.norm"),
        layer(f"{theirs}.norm1", f"{ours}.norm1"),
        layer(f"{theirs}.norm2", f"{ours}.norm2"),
        layer(f"{theirs}.ffn.layers.0", f"{ours}.mlp.fc1", as_linear),
        layer(f"{theirs}.ffn.layers.{second}", f"{ours}.mlp.fc2", as_linear),
    )


EMBED = (
    layer("layers.{s}.0.projection", "patch_embed{s+1}.proj"),
    layer("layers.{s}.0.norm", "patch_embed{s+1}.norm"),
)
PVT = (
    *EMBED,
    Rule("layers.{s}.1.0.pos_embed", "pos_embed{s+1}"),
    *_pyramid_block("layers.{s}.1.{j}", "block{s+1}.{j-1}", "3"),
)
PVT_V2 = (
    *EMBED,
    *_pyramid_block("layers.{s}.1.{j}", "block{s+1}.{j}", "4"),
    layer("layers.{s}.1.{j}.ffn.layers.1", "block{s+1}.{j}.mlp.dwconv.dwconv"),
    layer("layers.{s}.2", "norm{s+1}"),
)

TWINS = (  # mmpretrain's, to the official names (which are timm's)
    layer("patch_embeds.{s}.projection", "patch_embeds.{s}.proj"),
    layer("patch_embeds.{s}.norm", "patch_embeds.{s}.norm"),
    layer("stages.{s}.{j}.ffn.layers.0.0", "blocks.{s}.{j}.mlp.fc1"),
    layer("stages.{s}.{j}.ffn.layers.1", "blocks.{s}.{j}.mlp.fc2"),
    Rule("stages.{s}.{j}.{x}", "blocks.{s}.{j}.{x}"),
    layer("position_encodings.{s}.proj", "pos_block.{s}.proj.0"),
    layer("norm_after_stage3", "norm"),
    Rule("norm_after_stage{s}.{x}", "norm_after_stage{s}.{x}"),
    layer("head.fc", "head"),
)


def is_swin(keys: Collection[str]) -> bool:
    """Whether these are OpenMMLab's names of a Swin."""
    return has(keys, r"stages\.0\.blocks\.0\.attn\.w_msa\.")


def is_pvt(keys: Collection[str]) -> bool:
    """Whether these are mmdetection's names of a PVT."""
    return "layers.0.0.projection.weight" in keys and "layers.0.1.0.pos_embed" in keys


def is_pvt_v2(keys: Collection[str]) -> bool:
    """Whether these are mmdetection's names of a PVTv2."""
    return "layers.0.0.projection.weight" in keys and "layers.0.2.weight" in keys


def read_swin(state: State, beside: Beside) -> Told:
    """Read a Swin; the libraries' blocks differ in maps no larger than their window."""
    backbone = _backbone(beside, state, "SwinTransformer")
    fields: dict[str, Any] = {"resized_window": "keep", **_swin_arguments(backbone)}
    fields["small_maps"], guess = _small_maps(state, beside, backbone)
    norms = feature_norms(state)
    fields = swin_fields(state, fields, beside)
    last = (len(fields["depths"]) - 1,) if "norm.weight" in state else ()
    fields["feature_norms"] = tuple(sorted({*norms, *last}))
    if "head.weight" not in state:  # out_indices, each of which has a norm
        fields["feature_stages"] = fields["feature_norms"]
    told = "img_size" in backbone or "pretrain_img_size" in backbone
    unsaid = () if told else (untold_input(fields["image_size"], "32 times the window, as published"),)
    filled = {**QKV_BIAS, **last_norm(state)}
    source = WHERE if backbone else ""
    return _told(fields, beside, fields["image_size"], source, (*guess, *unsaid), filled)


def read_pyramid(state: State, beside: Beside) -> Told:
    """Read a PVT or PVTv2: mmdetection's have one epsilon for every norm, and heads in proportion to the widths."""
    backbone = _backbone(beside, state, "PyramidVisionTransformerV2" if "norm4.weight" in state else PVT_TYPE)
    _refuse_unknown(backbone, PYRAMID_ARGUMENTS)
    expect(WHERE, backbone, {"act_cfg": ({"type": "GELU"},), "norm_cfg": ({"type": "LN", "eps": 1e-6},)})
    widths = [value.shape[0] for key, value in state.items() if re.fullmatch(r"patch_embed\d\.proj\.weight", key)]
    heads = backbone.get("num_heads") or [width // widths[0] for width in widths]
    fields: dict[str, Any] = {"heads": tuple(heads), "norm_eps": 1e-6, "embed_eps": 1e-6, "reduced_eps": 1e-6}
    assumed = () if "num_heads" in backbone else (f"{UNTOLD['heads']}: each width over the first, as published",)
    if "out_indices" in backbone:
        told = backbone["out_indices"]
        fields["feature_stages"] = handed_on(WHERE, "out_indices", told, told)
    if "pos_embed1" not in state:
        assumed = (*assumed, untold_input((224, 224), "as published"))
    else:
        fields["class_token"] = False
    return _told(fields, beside, (224, 224), WHERE if backbone else "", assumed, last_norm(state))


def _backbone(beside: Beside, state: State, *types: str) -> Mapping[str, Any]:
    """Find the backbone's arguments; refuse those of another one, and a neck or head that computes something else.

    Raises:
        ShapeError: the configuration is of another model.
    """
    model = beside.config.get("model")
    model = model if isinstance(model, Mapping) else {}
    found = model.get("backbone")
    found = found if isinstance(found, Mapping) else {}
    named = str(found.get("type", types[0])).rpartition(".")[2]
    if named not in types:
        refuse_field(WHERE, "backbone", named, " or ".join(types))
    for name in ("head.weight", "head.projection.weight"):
        if name in state:
            _refuse_other_ends(model, state[name].shape[0])
    return found


def _refuse_other_ends(model: Mapping[str, Any], classes: int) -> None:
    """Refuse what is not the mean of the last map and one linear layer.

    Raises:
        ShapeError: neck or head is something else.
    """
    neck, head = model.get("neck"), model.get("head")
    pools = isinstance(neck, Mapping) and str(neck.get("type")).rpartition(".")[2] == "GlobalAveragePooling"
    if "neck" in model and not pools:
        refuse_field(WHERE, "neck", neck, "GlobalAveragePooling")
    told = head.get("num_classes", classes) if isinstance(head, Mapping) else classes
    if told != classes:
        refuse_field(WHERE, "num_classes", told, f"{classes}, which the head has,")


ARCHITECTURES = {  # mmpretrain, SwinTransformer.arch_zoo: width, depths, heads
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


SWIN_ARGUMENTS = frozenset(
    """
    type arch img_size pretrain_img_size patch_size in_channels window_size drop_rate attn_drop_rate drop_path_rate
    out_indices out_after_downsample use_abs_pos_embed interpolate_mode with_cp frozen_stages norm_eval pad_small_map
    norm_cfg stage_cfgs patch_cfg init_cfg embed_dims mlp_ratio depths num_heads strides qkv_bias qk_scale patch_norm
    act_cfg pretrained convert_weights ape use_checkpoint
    """.split()  # noqa: SIM905
)
PYRAMID_ARGUMENTS = frozenset(
    """
    type pretrain_img_size in_channels embed_dims num_stages num_layers num_heads patch_sizes strides paddings sr_ratios
    out_indices mlp_ratios qkv_bias drop_rate attn_drop_rate drop_path_rate use_abs_pos_embed norm_after_stage
    use_conv_ffn act_cfg norm_cfg pretrained convert_weights init_cfg with_cp
    """.split()  # noqa: SIM905
)
TWINS_ARGUMENTS = frozenset(
    """
    type arch in_channels out_indices qkv_bias drop_rate attn_drop_rate drop_path_rate norm_cfg norm_after_stage
    init_cfg
    """.split()  # noqa: SIM905
)
MVIT_ARGUMENTS = frozenset(
    ("type", "arch", "img_size", "out_scales", "drop_path_rate", "interpolate_mode", "rel_pos_zero_init", "init_cfg")
)
"""Arguments of the constructors: read, told by shapes, or without effect in eval mode.

Source: mmpretrain 1.2.0, models/backbones/swin_transformer.py, twins.py and mvit.py; mmdet 3.3.0,
models/backbones/swin.py and pvt.py.
"""
MVIT_MODELLED: Mapping[str, tuple[Any, ...]] = {
    "in_channels": (3,),
    "use_abs_pos_embed": (False,),
    "pool_kernel": ([3, 3],),
    "dim_mul": (2,),
    "head_mul": (2,),
    "adaptive_kv_stride": (4,),
    "rel_pos_spatial": (True,),
    "residual_pooling": (True,),
    "dim_mul_in_attention": (True,),
    "mlp_ratio": (4, 4.0),
    "qkv_bias": (True,),
    "norm_cfg": ({"type": "LN", "eps": 1e-6},),
    "patch_cfg": ({"kernel_size": 7, "stride": 4, "padding": 3},),
}
"""Arguments whose published values alone are modelled."""


def _refuse_unknown(backbone: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse an argument that is not known: it may change what the model computes.

    Raises:
        ShapeError: there is one.
    """
    for name, value in backbone.items():
        if name not in known:
            refuse_field(WHERE, str(name), value, "no such argument of the backbone")


def _swin_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_unknown(backbone, SWIN_ARGUMENTS)
    expect(WHERE, backbone, {"ape": (False,), "stage_cfgs": ({}, None, []), "patch_cfg": ({}, None)})
    expect(
        WHERE, backbone, {"patch_size": (4,), "in_channels": (3,), "use_abs_pos_embed": (False,), "patch_norm": (True,)}
    )
    expect(WHERE, backbone, {"act_cfg": ({"type": "GELU"},), "norm_cfg": ({"type": "LN"},), "qk_scale": (None,)})
    expect(WHERE, backbone, {"out_after_downsample": (False,), "strides": ([4, 2, 2, 2], (4, 2, 2, 2))})
    fields: dict[str, Any] = {}
    arch = backbone.get("arch")
    if isinstance(arch, str):
        known = ARCHITECTURES.get({"t": "tiny", "s": "small", "b": "base", "l": "large"}.get(arch, arch))
        if known is None:
            refuse_field(WHERE, "arch", arch, "tiny, small, base or large")
        else:
            fields |= dict(zip(("embed_dim", "depths", "heads"), known, strict=True))
    told = {**(arch if isinstance(arch, Mapping) else {}), **backbone}
    if "embed_dims" in told:
        fields["embed_dim"] = int(told["embed_dims"])
    fields |= {ours: tuple(told[name]) for ours, name in (("depths", "depths"), ("heads", "num_heads")) if name in told}
    if "window_size" in told:
        fields["window"] = pair(told["window_size"], "window_size")
    for name in ("img_size", "pretrain_img_size"):
        if name in told:
            fields["image_size"] = pair(told[name], name)
    return fields


def _small_maps(state: State, beside: Beside, backbone: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Tell whose blocks these are: a detector's or segmenter's shift even a map of one window."""
    detectors = "pad-and-shift"
    if "pad_small_map" in backbone:
        return (detectors if backbone["pad_small_map"] else "joint"), ()
    if beside.writer:
        return ("joint" if beside.writer in CLASSIFIERS else detectors), ()
    if "head.weight" in state or "arch" in backbone:
        return "joint", ()
    norms = feature_norms(state)
    whose = "mmsegmentation's or mmdetection's, which shift a map of one window" if norms else "mmpretrain's"
    return (detectors if norms else "joint"), (f"no file tells whose backbone this is: {whose}, is assumed",)


MVIT = (  # to the official names of an MViTv2
    layer("patch_embed.projection", "patch_embed.proj"),
    Rule("blocks.{j}.{x}", "blocks.{j}.{x}"),
    layer("norm3", "norm"),
    layer("head.fc", "head.projection"),
)


def is_twins(keys: Collection[str]) -> bool:
    """Whether these are mmpretrain's names of a Twins."""
    return "patch_embeds.0.projection.weight" in keys and has(keys, r"position_encodings\.0\.")


def is_mvit(keys: Collection[str]) -> bool:
    """Whether these are mmpretrain's names of an MViTv2."""
    return "patch_embed.projection.weight" in keys and "blocks.0.attn.pool_q.weight" in keys


def read_twins(state: State, beside: Beside) -> Told:
    """Read a Twins: its norms have another epsilon than the official ones, and earlier stages may have one, too.

    Zeros complete windows and are masked as upstream's segmenter does; patches are padded, which is refused.

    Source: mmpretrain 1.2.0, models/backbones/twins.py, PCPVT and SVT.

    Raises:
        ShapeError: nobody tells the windows of a size that is not published.
    """
    backbone = _backbone(beside, state, "PCPVT", "SVT")
    _refuse_unknown(backbone, TWINS_ARGUMENTS)
    expect(WHERE, backbone, {"norm_cfg": ({"type": "LN"},), "in_channels": (3,)})
    told = backbone.get("arch")
    told = told if isinstance(told, Mapping) else {}
    names = {"heads": "num_heads", "windows": "window_sizes"}
    fields: dict[str, Any] = {"norm_eps": 1e-5, "padding": "mask", "refuse_remainder": True}
    fields |= {ours: tuple(told[name]) for ours, name in names.items() if name in told}
    widths = tuple(state[key].shape[0] for key in sorted(state) if re.fullmatch(r"patch_embeds\.\d\.proj\.weight", key))
    if "windows" not in fields and "blocks.0.0.attn.qkv.weight" in state and widths not in HEADS:
        raise ShapeError(f"widths {widths}, of whose windows nothing is told: the file has no configuration of its own")
    guess = untold_input((224, 224), "as published")
    return _told(fields, beside, (224, 224), WHERE if told else "", (guess,), QKV_BIAS)


def read_mvit(state: State, beside: Beside) -> Told:
    """Read an MViTv2: its tables tell the input; what it is made with otherwise is the published form."""
    backbone = _backbone(beside, state, "MViT")
    _refuse_unknown(backbone, frozenset({*MVIT_ARGUMENTS, *MVIT_MODELLED}))
    expect(WHERE, backbone, MVIT_MODELLED)
    return _told({}, beside, (224, 224), "", (), {})


def _told(
    fields: Mapping[str, Any],
    beside: Beside,
    size: tuple[int, int],
    source: str,
    assumed: tuple[str, ...],
    filled: Mapping[str, float],
) -> Told:
    """What is told, with the preprocessing: where a pipeline tells it, what is guessed of it is an assumption apart."""
    data, guesses, notes = read_images(beside.config, size)
    images = images_told(beside.config)
    apart, default = (guesses, ()) if "resize" in images else ((), guesses)
    return Told(fields, data, beside.labels, source, notes, (*assumed, *apart), filled, images, default)


FORMATS = (
    Format("OpenMMLab Swin", "swin", is_swin, swin_rules, read_swin),
    Format("OpenMMLab PVT", "pvt", is_pvt, PVT, read_pyramid),
    Format("OpenMMLab PVTv2", "pvt_v2", is_pvt_v2, PVT_V2, read_pyramid),
    Format("OpenMMLab Twins", "twins", is_twins, TWINS, read_twins),
    Format("OpenMMLab MViTv2", "mvitv2", is_mvit, MVIT, read_mvit),
)
