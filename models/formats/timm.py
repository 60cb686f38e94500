"""timm: Swin, PVTv2, Twins and MViTv2, features_only forms, and transformers' TimmWrapper around them.

Twins, and Swin up to 0.8, have the authors' names: config.json alone tells that they are timm's. From 0.9 on Swin's
patch merging stands at the start of a stage; its order of channels is the official one. Source: timm 1.0.31,
timm/models/swin_transformer.py, pvt_v2.py and twins.py.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models.family import ShapeError, State, classes

from .format import STAGES, Beside, Format, Told, handed_on, refuse_field, untold_input
from .key_map import Rule, layer
from .shapes import has, last_norm, swin_fields, windows_alike
from .timm_config import (
    ARGUMENTS,
    WHERE,
    images_told,
    pretrained_of,
    read_arguments,
    read_data,
    read_image_size,
    read_labels,
    read_window,
    unsaid,
    with_processor,
)

NO_CONFIG = "no config.json beside the weights: timm's defaults are assumed (mean of the map, windows as they are cut)"
QKV_BIAS = {r"layers\.\d+\.blocks\.\d+\.attn\.qkv\.bias": 0.0}  # of models made with qkv_bias=False

SWIN = (
    layer("head.fc", "head"),
    layer("layers.{s}.downsample.{b}", "layers.{s-1}.downsample.{b}"),
    Rule("layers.{s}.blocks.{x}", "layers.{s}.blocks.{x}"),
    Rule("patch_embed.{x}", "patch_embed.{x}"),
    layer("norm", "norm"),
)
SWIN_FEATURES = (
    layer("layers_{s}.downsample.{b}", "layers.{s-1}.downsample.{b}"),
    Rule("layers_{s}.blocks.{x}", "layers.{s}.blocks.{x}"),
    Rule("patch_embed.{x}", "patch_embed.{x}"),
)


def _pvt_v2(stage: str) -> tuple[Rule, ...]:
    return (
        layer("patch_embed.{b}", "patch_embed1.{b}"),
        layer(f"{stage}.downsample.{{b}}", "patch_embed{s+1}.{b}"),
        layer(f"{stage}.blocks.{{j}}.mlp.dwconv", "block{s+1}.{j}.mlp.dwconv.dwconv"),
        Rule(f"{stage}.blocks.{{j}}.{{x}}", "block{s+1}.{j}.{x}"),
        layer(f"{stage}.norm", "norm{s+1}"),
        layer("head", "head"),
    )


AS_THEY_ARE = (Rule("{x}", "{x}"),)  # the authors' own names
PVT_V2, PVT_V2_FEATURES = _pvt_v2("stages.{s}"), _pvt_v2("stages_{s}")

MVIT_V2 = (  # needs the number of each stage's first block: see `mvit_v2_rules`
    layer("patch_embed.proj", "patch_embed.proj"),
    Rule("cls_token", "cls_token"),
    layer("norm", "norm"),
    layer("head.fc", "head.projection"),
)


def mvit_v2_rules(keys: Collection[str]) -> tuple[Rule, ...]:
    """Number timm's blocks of an MViTv2 through, as the official code does."""
    blocks = sorted({(int(m[1]), int(m[2])) for key in keys if (m := re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", key))})
    rules = list(MVIT_V2)
    for number, (stage, block) in enumerate(blocks):
        theirs, ours = f"stages.{stage}.blocks.{block}", f"blocks.{number}"
        rules += [layer(f"{theirs}.shortcut_proj_attn", f"{ours}.proj"), Rule(f"{theirs}.{{x}}", f"{ours}.{{x}}")]
    return tuple(rules)


def is_swin(keys: Collection[str]) -> bool:
    """Whether these are the names of a Swin of timm 0.9 or later."""
    merging = "layers.1.downsample.reduction.weight" in keys and not has(keys, r"layers\.0\.downsample\.")
    return merging and "layers.0.blocks.0.attn.relative_position_bias_table" in keys


def is_old_swin(keys: Collection[str]) -> bool:
    """Whether these are the authors' names of a Swin, which timm had up to 0.8."""
    table = "layers.0.blocks.0.attn.relative_position_bias_table"
    return table in keys and has(keys, r"layers\.0\.downsample\.")


def is_twins(keys: Collection[str]) -> bool:
    """Whether these are the authors' names of a Twins, which are timm's."""
    return "patch_embeds.0.proj.weight" in keys and "pos_block.0.proj.0.weight" in keys


def is_mvit_v2(keys: Collection[str]) -> bool:
    """Whether these are the names of timm's MViTv2."""
    return "stages.0.blocks.0.attn.pool_q.weight" in keys or "stages.0.blocks.0.attn.rel_pos_h" in keys


def read_swin(state: State, beside: Beside) -> Told:
    """Read a Swin: config.json where there is one, else what the shapes tell and what timm does by default."""
    name = str(beside.config.get("architecture", ""))
    if name.startswith("swin_s3"):
        raise ShapeError(f"architecture {name!r}, whose windows differ from stage to stage")
    arguments = read_arguments(beside.config, state, "swin_")
    if arguments.get("qkv_bias") is False and "layers.0.blocks.0.attn.qkv.bias" in state:
        refuse_field(ARGUMENTS, "qkv_bias", False, "what the tensors have, which are biases,")
    fields = {"resized_window": "keep", "roll_first": True, "whole_patches": True, **_sizes(arguments, state)}
    if arguments.get("strict_img_size") is False:
        fields["resized_window"] = "fixed"
    if arguments.get("always_partition"):
        fields["small_maps"] = "pad-and-shift"
    if window := read_window(arguments.get("window_size"), name):
        fields["window"] = window
    if size := read_image_size(beside.config, arguments):
        fields["image_size"] = size
    fields = swin_fields(state, fields, beside)
    alike = windows_alike(state)
    if size is None and alike and "norm.weight" not in state:  # features_only may end before the last stage
        fields["image_size"] = (32 * fields["window"][0], 32 * fields["window"][1])
    reason = "32 times the window" if alike else "the largest that the windows fit"
    assumed = () if size else (untold_input(fields["image_size"], reason),)
    filled = {**QKV_BIAS, **last_norm(state)}
    return _told(state, {**fields, **_handed_on(arguments, state)}, beside, fields["image_size"], assumed, filled)


def _handed_on(arguments: Mapping[str, Any], state: State) -> dict[str, Any]:
    """Read the stages whose maps a features_only model hands on."""
    told = arguments.get("out_indices")
    if told is None or classes(state):
        return {}
    counted = (stage + STAGES if stage < 0 else stage for stage in told)
    return {"feature_stages": handed_on(ARGUMENTS, "out_indices", counted, told)}


def _sizes(arguments: Mapping[str, Any], state: State) -> dict[str, Any]:
    """Read widths, depths, heads and ratios, as many of each stage's as the file has stages."""
    stages = {match[0] for key in state if (match := re.match(r"(layers\.|block)\d+\.", key))}
    per_stage = ("depths", "embed_dims", "mlp_ratios") + (() if arguments.get("linear") else ("sr_ratios",))
    ours = {"num_heads": "heads", "sr_ratios": "reductions"}
    fields: dict[str, Any] = {
        name: arguments[name] for name in ("embed_dim", "mlp_ratio", "linear") if name in arguments
    }
    for name in (*per_stage, "num_heads"):
        if name in arguments:
            told = arguments[name]
            fields[ours.get(name, name)] = tuple(told[: len(stages)] if isinstance(told, list | tuple) else (told,))
    return fields


def read_pvt_v2(state: State, beside: Beside) -> Told:
    """Read a PVTv2: the heads stand in config.json where they are not those of a published width."""
    arguments = read_arguments(beside.config, state, "pvt_v2")
    size = read_image_size(beside.config, arguments)
    fields = {**_sizes(arguments, state), **_handed_on(arguments, state), **({"image_size": size} if size else {})}
    return _told(state, fields, beside, size or (224, 224), (), {})


def read_mvit_v2(state: State, beside: Beside) -> Told:
    """Read an MViTv2: its tables tell the input."""
    arguments = read_arguments(beside.config, state, "mvitv2_")
    return _told(state, {}, beside, read_image_size(beside.config, arguments) or (224, 224), (), {})


def read_old_swin(state: State, beside: Beside) -> Told:
    """Read a Swin of timm 0.6 to 0.8: its function is the authors', its windows stay at another input.

    Source: timm 0.6.13, timm/models/swin_transformer.py, SwinTransformerBlock.
    """
    arguments = read_arguments(beside.config, state, "swin_")
    fields = {"resized_window": "keep", **_sizes(arguments, state)}
    if window := read_window(arguments.get("window_size"), str(beside.config.get("architecture", ""))):
        fields["window"] = window
    if size := read_image_size(beside.config, arguments):
        fields["image_size"] = size
    fields = swin_fields(state, fields, beside)
    return _told(state, fields, beside, fields["image_size"], (), {})


def read_twins(state: State, beside: Beside) -> Told:
    """Read a Twins: zeros complete the windows and are attended to, which the authors' classifier refuses.

    Source: timm 1.0.31, timm/models/twins.py, LocallyGroupedAttn.forward.
    """
    arguments = read_arguments(beside.config, state, "twins_")
    fields: dict[str, Any] = {"padding": "zeros"}
    size = read_image_size(beside.config, arguments)
    fields |= {"image_size": size} if size else {}
    names = {"heads": "num_heads", "windows": "wss"}
    fields |= {ours: tuple(arguments[name]) for ours, name in names.items() if arguments.get(name)}
    return _told(state, fields, beside, size or (224, 224), (), {})


def _told(
    state: State,
    fields: Mapping[str, Any],
    beside: Beside,
    size: tuple[int, int],
    assumed: tuple[str, ...],
    filled: Mapping[str, float],
) -> Told:
    config = with_processor(beside.config, beside.preprocessor)
    data, guess = read_data(config, size)
    pretrained = pretrained_of(config)
    labels = read_labels(config, pretrained) or beside.labels
    source = WHERE if beside.config else ""
    images = images_told(config)
    if not (classes(state) or classes(state, "head.projection") or "feature_stages" in fields):
        assumed = (*assumed, "no file tells which maps a backbone hands on: those of every stage are assumed")
    assumed = (*assumed, *(unsaid(beside.config, pretrained, size) if beside.config else (NO_CONFIG,)))
    return Told(fields, data, labels, source, assumed=assumed, filled=filled, images=images, images_assumed=guess)


FORMATS = (
    Format("timm Twins", "twins", is_twins, AS_THEY_ARE, read_twins, only_with="architecture"),
    Format("timm (before 0.9) Swin", "swin", is_old_swin, AS_THEY_ARE, read_old_swin, only_with="architecture"),
    Format("timm (0.9 or later) Swin", "swin", is_swin, SWIN, read_swin),
    Format(
        "timm features_only Swin",
        "swin",
        lambda keys: "layers_0.blocks.0.attn.qkv.weight" in keys,
        SWIN_FEATURES,
        read_swin,
    ),
    Format("timm PVTv2", "pvt_v2", lambda keys: "stages.0.blocks.0.mlp.dwconv.weight" in keys, PVT_V2, read_pvt_v2),
    Format(
        "timm features_only PVTv2",
        "pvt_v2",
        lambda keys: "stages_0.blocks.0.mlp.dwconv.weight" in keys,
        PVT_V2_FEATURES,
        read_pvt_v2,
    ),
    Format("timm MViTv2", "mvitv2", is_mvit_v2, mvit_v2_rules, read_mvit_v2),
)
