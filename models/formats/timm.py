"""timm: Swin, PVTv2, Twins and MViTv2, features_only forms, and transformers' TimmWrapper around them.

Twins, and Swin up to 0.8, have the authors' names: config.json alone tells that they are timm's. From 0.9 on Swin's
patch merging stands at the start of a stage; its order of channels is the official one. Source: timm 1.0.31,
timm/models/swin_transformer.py, pvt_v2.py and twins.py.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError, State

from .format import Beside, Format, Told, expect, pair, refuse_field, untold_input
from .key_map import Rule, layer
from .shapes import LAST_NORM, has, swin_fields, windows_alike

CROP = 0.9  # of every model here at 224, _cfg: crop_pct
WHOLE_IMAGE = 384  # whose models have crop_pct 1.0
FILTERS = ("bicubic", "bilinear")
ELSEWHERE = """
    img_size window_size num_classes embed_dim embed_dims depths num_heads mlp_ratio mlp_ratios sr_ratios linear
    qkv_bias strict_img_size dynamic_img_size always_partition drop_rate proj_drop_rate attn_drop_rate drop_path_rate
    weight_init wss pos_drop_rate features_only out_indices feature_cls output_fmt pretrained checkpoint_path
    device dtype
""".split()  # noqa: SIM905  # arguments that are read elsewhere, that shapes tell, or that change nothing in eval mode
MODELLED = {  # argument -> the values that are modelled
    "in_chans": (3,),
    "global_pool": ("avg", "", None),
    "head_dim": (None,),
    "norm_layer": (None, "layernorm"),
    "act_layer": (None, "gelu"),
}
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
    arguments = _arguments(beside.config, "swin")
    name = str(beside.config.get("architecture", ""))
    if name.startswith("swin_s3"):
        raise ShapeError(f"architecture {name!r}, whose windows differ from stage to stage")
    fields: dict[str, Any] = {"resized_window": "keep", "roll_first": True, "whole_patches": True}
    if arguments.get("strict_img_size") is False:
        fields["resized_window"] = "fixed"
    if arguments.get("always_partition"):
        fields["small_maps"] = "pad-and-shift"
    if window := _window(arguments.get("window_size"), name):
        fields["window"] = window
    if size := _image_size(beside.config, arguments):
        fields["image_size"] = size
    fields = swin_fields(state, fields)
    guessed = size is None and windows_alike(state)
    if guessed and "norm.weight" not in state:  # features_only may end before the last stage
        fields["image_size"] = (32 * fields["window"][0], 32 * fields["window"][1])
    assumed = (untold_input(fields["image_size"], "32 times the window"),) if guessed else ()
    filled = {**QKV_BIAS, **({} if "norm.weight" in state else LAST_NORM)}
    return _told(fields, beside, fields["image_size"], assumed, filled)


def read_pvt_v2(_state: State, beside: Beside) -> Told:
    """Read a PVTv2: the heads stand in config.json where they are not those of a published width."""
    arguments = _arguments(beside.config, "pvt_v2")
    size = _image_size(beside.config, arguments)
    fields: dict[str, Any] = {"image_size": size} if size else {}
    if "num_heads" in arguments:
        fields["heads"] = tuple(arguments["num_heads"])
    return _told(fields, beside, size or (224, 224), (), {})


def read_mvit_v2(_state: State, beside: Beside) -> Told:
    """Read an MViTv2: its tables tell the input."""
    arguments = _arguments(beside.config, "mvitv2")
    return _told({}, beside, _image_size(beside.config, arguments) or (224, 224), (), {})


def read_old_swin(state: State, beside: Beside) -> Told:
    """Read a Swin of timm 0.6 to 0.8: its function is the authors', its windows stay at another input.

    Source: timm 0.6.13, timm/models/swin_transformer.py, SwinTransformerBlock.
    """
    arguments = _arguments(beside.config, "swin")
    fields: dict[str, Any] = {"resized_window": "keep"}
    if window := _window(arguments.get("window_size"), str(beside.config.get("architecture", ""))):
        fields["window"] = window
    if size := _image_size(beside.config, arguments):
        fields["image_size"] = size
    fields = swin_fields(state, fields)
    return _told(fields, beside, fields["image_size"], (), {})


def read_twins(_state: State, beside: Beside) -> Told:
    """Read a Twins: zeros complete the windows and are attended to, which the authors' classifier refuses.

    Source: timm 1.0.31, timm/models/twins.py, LocallyGroupedAttn.forward.
    """
    arguments = _arguments(beside.config, "twins")
    fields: dict[str, Any] = {"padding": "zeros"}
    size = _image_size(beside.config, arguments)
    fields |= {"image_size": size} if size else {}
    names = {"heads": "num_heads", "windows": "wss"}
    fields |= {ours: tuple(arguments[name]) for ours, name in names.items() if arguments.get(name)}
    return _told(fields, beside, size or (224, 224), (), {})


def _told(
    fields: Mapping[str, Any],
    beside: Beside,
    size: tuple[int, int],
    assumed: tuple[str, ...],
    filled: Mapping[str, float],
) -> Told:
    data, guess = _data(beside.config, size)
    names = beside.config.get("label_names") or _pretrained(beside.config).get("label_names") or ()
    labels = tuple(map(str, names.values() if isinstance(names, Mapping) else names)) or beside.labels
    source = "config.json" if beside.config else ""
    images = _images_told(beside.config)
    return Told(fields, data, labels, source, assumed=assumed, filled=filled, images=images, images_assumed=guess)


def _images_told(config: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing pretrained_cfg tells."""
    told = _pretrained(config)
    names = [name for name in ("mean", "std", "interpolation") if name in told]
    names += ["resize", "crop"] if "crop_pct" in told else []
    return dict.fromkeys(names, "config.json")


def _pretrained(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("pretrained_cfg")
    return found if isinstance(found, Mapping) else {}


def _arguments(config: Mapping[str, Any], family: str) -> Mapping[str, Any]:
    """Read the constructor's arguments; one that is not known is refused."""
    where, found = "model_args of config.json", config.get("model_args")
    arguments: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    expect(where, arguments, MODELLED)
    if "patch_size" in arguments and arguments["patch_size"] not in (4, [4, 4]):
        refuse_field(where, "patch_size", arguments["patch_size"], "4")
    if family == "swin" and config.get("global_pool") not in (None, "avg", ""):
        refuse_field("config.json", "global_pool", config["global_pool"], "'avg'")
    known = {*ELSEWHERE, *MODELLED, "patch_size"}
    for name, value in arguments.items():
        if name not in known:
            refuse_field(where, name, value, "no such argument")
    return arguments


def _window(told: Any, architecture: str) -> tuple[int, int] | None:
    """Read the window: one number, rows and columns, or those of each stage, which must agree."""
    if told is None:
        named = re.search(r"window(\d+)", architecture)
        return pair(int(named[1])) if named else None
    if isinstance(told, list) and (len(told) > 2 or any(isinstance(window, list) for window in told)):
        stages = {pair(window, "window_size") for window in told}
        if len(stages) > 1:
            refuse_field("model_args of config.json", "window_size", told, "the same window in every stage")
        return stages.pop()
    return pair(told, "window_size")


def _image_size(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[int, int] | None:
    if "img_size" in arguments:
        return pair(arguments["img_size"], "img_size")
    told = _pretrained(config).get("input_size")
    return pair(told[1:], "input_size") if told else None


def _data(config: Mapping[str, Any], size: tuple[int, int]) -> tuple[DataConfig, tuple[str, ...]]:
    """Read the preprocessing: pretrained_cfg, else the default of timm's models at this size.

    Source: timm/data/transforms_factory.py, transforms_imagenet_eval: the short side to floor(size / crop_pct), centre
    crop; both sides where crop_mode is "squash".
    """
    told, where = _pretrained(config), "pretrained_cfg of config.json"
    default = 1.0 if min(size) >= WHOLE_IMAGE else CROP
    filter_ = told.get("interpolation", "bicubic")
    expect(where, {"interpolation": filter_}, {"interpolation": FILTERS})
    expect(where, told, {"crop_mode": ("center", "squash", None, "")})
    share = float(told.get("crop_pct") or default)
    data = DataConfig(interpolation=filter_, keep_aspect=told.get("crop_mode") != "squash", scale=1 / share)
    colours = {name: tuple(map(float, told[name])) for name in ("mean", "std") if name in told}
    data = DataConfig(**{**vars(data), **colours})
    missing = not {"mean", "std", "crop_pct", "interpolation"} <= told.keys()
    return data, ("no file tells all of the preprocessing: timm's default is assumed",) if missing else ()


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
