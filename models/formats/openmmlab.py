"""OpenMMLab: Swin of mmpretrain, mmsegmentation and mmdetection, PVT and PVTv2 of mmdetection, Twins, MViTv2.

Patch merging joins neighbours in nn.Unfold's order, so its weights are permuted: the shapes agree without it and the
model is another one. Source: mmpretrain 1.2.0, models/backbones/swin_transformer.py and models/utils/attention.py,
ShiftWindowMSA; mmsegmentation 1.2.2, models/backbones/swin.py; mmdetection 3.3.0, models/backbones/swin.py and pvt.py.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError, State

from .format import UNTOLD, Beside, Format, Told, expect, pair, refuse_field, untold_input
from .key_map import Rule, as_linear, columns_by_place, first_third, last_thirds, layer
from .shapes import LAST_NORM, feature_norms, has, swin_fields

WHERE = "the file's own configuration (meta.cfg)"
WHOLE_IMAGE = 384  # from this side on mmpretrain's configurations resize both sides and crop nothing
CLASSIFIERS = ("mmpretrain", "mmcls")
FILTERS = ("bicubic", "bilinear")

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
    backbone = _backbone(beside.config)
    fields: dict[str, Any] = {"resized_window": "keep", **_swin_arguments(backbone)}
    fields["small_maps"], guess = _small_maps(state, beside, backbone)
    norms = feature_norms(state)
    fields = swin_fields(state, fields)
    last = (len(fields["depths"]) - 1,) if "norm.weight" in state else ()
    fields["feature_norms"] = tuple(sorted({*norms, *last}))
    told = "img_size" in backbone or "pretrain_img_size" in backbone
    unsaid = () if told else (untold_input(fields["image_size"], "32 times the window, as published"),)
    data, guesses = _data(beside.config, fields["image_size"])
    filled = {} if "norm.weight" in state else LAST_NORM
    if backbone.get("qkv_bias") is False:
        filled = {**filled, r".*\.attn\.qkv\.bias": 0.0}
    source = WHERE if backbone else ""
    return Told(
        fields,
        data,
        beside.labels,
        source,
        assumed=(*guess, *unsaid),
        filled=filled,
        images=_images_told(beside.config),
        images_assumed=guesses,
    )


def read_pyramid(state: State, beside: Beside) -> Told:
    """Read a PVT or PVTv2: mmdetection's have one epsilon for every norm, and heads in proportion to the widths."""
    backbone = _backbone(beside.config)
    expect(WHERE, backbone, {"act_cfg": ({"type": "GELU"},), "norm_cfg": ({"type": "LN", "eps": 1e-6},)})
    widths = [value.shape[0] for key, value in state.items() if re.fullmatch(r"patch_embed\d\.proj\.weight", key)]
    heads = backbone.get("num_heads") or [width // widths[0] for width in widths]
    fields: dict[str, Any] = {"heads": tuple(heads), "norm_eps": 1e-6, "embed_eps": 1e-6, "reduced_eps": 1e-6}
    assumed = () if "num_heads" in backbone else (f"{UNTOLD['heads']}: each width over the first, as published",)
    if "pos_embed1" not in state:
        assumed = (*assumed, untold_input((224, 224), "as published"))
    else:
        fields["class_token"] = False
    data, guesses = _data(beside.config, (224, 224))
    filled = {} if "head.weight" in state else LAST_NORM
    return Told(
        fields,
        data,
        beside.labels,
        WHERE if backbone else "",
        assumed=assumed,
        filled=filled,
        images=_images_told(beside.config),
        images_assumed=guesses,
    )


def _backbone(config: Mapping[str, Any]) -> Mapping[str, Any]:
    model = config.get("model")
    found = model.get("backbone") if isinstance(model, Mapping) else None
    return found if isinstance(found, Mapping) else {}


ARCHITECTURES = {  # mmpretrain, SwinTransformer.arch_zoo: width, depths, heads
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


def _swin_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
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


def _data(config: Mapping[str, Any], size: tuple[int, int]) -> tuple[DataConfig, tuple[str, ...]]:
    """Read mmpretrain's preprocessing: its data_preprocessor and its test pipeline.

    Source: mmpretrain 1.2.0, configs/_base_/datasets/imagenet_bs64_swin_224.py and _384.py: the short side to 256 and
    a centre crop of 224, or both sides to 384; bicubic by Pillow.
    """
    whole = min(size) >= WHOLE_IMAGE
    data = DataConfig(keep_aspect=not whole, scale=1.0 if whole else 256 / 224)
    steps = config.get("test_pipeline")
    if not isinstance(steps, list):
        return data, ("no file tells the preprocessing: that of OpenMMLab's Swin configurations is assumed",)
    colours = config.get("data_preprocessor")
    colours = colours if isinstance(colours, Mapping) else {}
    expect(WHERE, colours, {"to_rgb": (True,)})
    scaled = {name: tuple(float(v) / 255 for v in colours[name]) for name in ("mean", "std") if name in colours}
    return DataConfig(**{**vars(data), **scaled, **_steps(steps, size)}), ()


def _images_told(config: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing a configuration tells, where its test pipeline is there."""
    if not isinstance(config.get("test_pipeline"), list):
        return {}
    colours = config.get("data_preprocessor")
    names = [name for name in ("mean", "std") if isinstance(colours, Mapping) and name in colours]
    return dict.fromkeys((*names, "resize", "crop", "interpolation"), WHERE)


def _steps(steps: list[Any], size: tuple[int, int]) -> dict[str, Any]:
    """Read the resizing step of a test pipeline."""
    for step in steps:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if kind in ("ResizeEdge", "Resize"):
            filter_ = step.get("interpolation", "bilinear")
            expect(WHERE, {"interpolation": filter_}, {"interpolation": FILTERS})
            edge, told = kind == "ResizeEdge", pair(step.get("scale", size[0]), "scale")
            return {"interpolation": filter_, "keep_aspect": edge, "scale": told[0] / size[0]}
    raise ShapeError(f"test_pipeline in {WHERE} without ResizeEdge or Resize")


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
    """Read a Twins: its norms have another epsilon than the official ones.

    Raises:
        ShapeError: the norm of its third stage is handed on, which no other library does.
    """
    if any(key.startswith("norm_after_stage") for key in state):
        raise ShapeError("norms after earlier stages (norm_after_stage2), whose output the next stage takes")
    data, guesses = _data(beside.config, (224, 224))
    return Told({"norm_eps": 1e-5}, data, beside.labels, images=_images_told(beside.config), images_assumed=guesses)


def read_mvit(_state: State, beside: Beside) -> Told:
    """Read an MViTv2: its tables tell the input."""
    data, guesses = _data(beside.config, (224, 224))
    return Told({}, data, beside.labels, images=_images_told(beside.config), images_assumed=guesses)


FORMATS = (
    Format("OpenMMLab Swin", "swin", is_swin, swin_rules, read_swin),
    Format("OpenMMLab PVT", "pvt", is_pvt, PVT, read_pyramid),
    Format("OpenMMLab PVTv2", "pvt_v2", is_pvt_v2, PVT_V2, read_pyramid),
    Format("OpenMMLab Twins", "twins", is_twins, TWINS, read_twins),
    Format("OpenMMLab MViTv2", "mvitv2", is_mvit, MVIT, read_mvit),
)
