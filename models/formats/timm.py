"""timm: Swin, PVTv2, Twins and MViTv2, features_only forms, and transformers' TimmWrapper around them.

Twins, and Swin up to 0.8, have the authors' names: config.json alone tells that they are timm's. From 0.9 on Swin's
patch merging stands at the start of a stage; its order of channels is the official one. Source: timm 1.0.31,
timm/models/swin_transformer.py, pvt_v2.py and twins.py.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError, State, classes

from .format import Beside, Format, Told, expect, pair, refuse_contradicted, refuse_field, untold_input
from .key_map import Rule, layer
from .shapes import has, last_norm, swin_fields, windows_alike

WHERE, ARGUMENTS = "config.json", "model_args of config.json"
CROP = 0.9  # of every model here at 224, _cfg: crop_pct
WHOLE_IMAGE = 384  # whose models have crop_pct 1.0
STAGES = 4  # of every model here
UNSAID_CROP = 0.875  # of a pretrained_cfg that has none, timm/data/constants.py: DEFAULT_CROP_PCT
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
KNOWN = frozenset(
    """
    architecture num_classes num_features global_pool model_args pretrained_cfg label_names label_descriptions labels
    model_type architectures do_pooling initializer_range transformers_version torch_dtype dtype id2label label2id
    num_labels problem_type return_dict output_attentions output_hidden_states chunk_size_feed_forward
    is_encoder_decoder tags license library_name
    """.split()  # noqa: SIM905
)  # at the top of config.json
PRETRAINED = frozenset(
    """
    url file hf_hub_id hf_hub_filename source license origin_url paper_name paper_ids tag custom_load input_size
    test_input_size min_input_size fixed_input_size interpolation crop_pct test_crop_pct crop_mode mean std pool_size
    test_pool_size first_conv classifier notes description label_offset
    """.split()  # noqa: SIM905
)  # there too, up to timm 0.6
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
    arguments = _arguments(beside.config, state, "swin_")
    if arguments.get("qkv_bias") is False and "layers.0.blocks.0.attn.qkv.bias" in state:
        refuse_field(ARGUMENTS, "qkv_bias", False, "what the tensors have, which are biases,")
    fields = {"resized_window": "keep", "roll_first": True, "whole_patches": True, **_sizes(arguments, state)}
    if arguments.get("strict_img_size") is False:
        fields["resized_window"] = "fixed"
    if arguments.get("always_partition"):
        fields["small_maps"] = "pad-and-shift"
    if window := _window(arguments.get("window_size"), name):
        fields["window"] = window
    if size := _image_size(beside.config, arguments):
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
    return {"feature_stages": tuple(sorted(stage % STAGES for stage in told))}


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
    arguments = _arguments(beside.config, state, "pvt_v2")
    size = _image_size(beside.config, arguments)
    fields = {**_sizes(arguments, state), **_handed_on(arguments, state), **({"image_size": size} if size else {})}
    return _told(state, fields, beside, size or (224, 224), (), {})


def read_mvit_v2(state: State, beside: Beside) -> Told:
    """Read an MViTv2: its tables tell the input."""
    arguments = _arguments(beside.config, state, "mvitv2_")
    return _told(state, {}, beside, _image_size(beside.config, arguments) or (224, 224), (), {})


def read_old_swin(state: State, beside: Beside) -> Told:
    """Read a Swin of timm 0.6 to 0.8: its function is the authors', its windows stay at another input.

    Source: timm 0.6.13, timm/models/swin_transformer.py, SwinTransformerBlock.
    """
    arguments = _arguments(beside.config, state, "swin_")
    fields = {"resized_window": "keep", **_sizes(arguments, state)}
    if window := _window(arguments.get("window_size"), str(beside.config.get("architecture", ""))):
        fields["window"] = window
    if size := _image_size(beside.config, arguments):
        fields["image_size"] = size
    fields = swin_fields(state, fields, beside)
    return _told(state, fields, beside, fields["image_size"], (), {})


def read_twins(state: State, beside: Beside) -> Told:
    """Read a Twins: zeros complete the windows and are attended to, which the authors' classifier refuses.

    Source: timm 1.0.31, timm/models/twins.py, LocallyGroupedAttn.forward.
    """
    arguments = _arguments(beside.config, state, "twins_")
    fields: dict[str, Any] = {"padding": "zeros"}
    size = _image_size(beside.config, arguments)
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
    data, guess = _data(beside.config, size)
    pretrained = _pretrained(beside.config)
    places = (("label_names", beside.config), ("label_names", pretrained), ("labels", pretrained))
    names = next((found for name, place in places if (found := place.get(name))), ())
    labels = tuple(map(str, names.values() if isinstance(names, Mapping) else names)) or beside.labels
    source = WHERE if beside.config else ""
    images = _images_told(beside.config)
    if not (classes(state) or classes(state, "head.projection") or "feature_stages" in fields):
        assumed = (*assumed, "no file tells which maps a backbone hands on: those of every stage are assumed")
    assumed = (*assumed, *(_unsaid(beside.config, pretrained, size) if beside.config else (NO_CONFIG,)))
    return Told(fields, data, labels, source, assumed=assumed, filled=filled, images=images, images_assumed=guess)


def _unsaid(config: Mapping[str, Any], pretrained: Mapping[str, Any], size: tuple[int, int]) -> tuple[str, ...]:
    """Say what of config.json is not read, and which of two inputs is taken."""
    known = KNOWN if "pretrained_cfg" in config else KNOWN | PRETRAINED
    unknown = sorted(str(name) for name in config if name not in known and not str(name).startswith("_"))
    sentences = [f"{WHERE} also has {', '.join(unknown[:8])}: taken for what changes no output"] if unknown else []
    told = pretrained.get("input_size")
    if told and pair(told[1:], "input_size") != size:
        sentences.append(f"{WHERE} has input_size {told} and the model's own img_size, which is taken")
    return tuple(sentences)


def _images_told(config: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing pretrained_cfg tells."""
    told = _pretrained(config)
    names = [name for name in ("mean", "std", "interpolation") if name in told]
    names += ["resize", "crop"] if "crop_pct" in told else []
    return dict.fromkeys(names, "config.json")


def _pretrained(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the pretrained_cfg; up to timm 0.6 its fields stand beside the architecture.

    Source: timm/models/_hub.py, _parse_model_cfg.

    Raises:
        ShapeError: it is none.
    """
    found = config.get("pretrained_cfg", config if "input_size" in config else None)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        refuse_field(WHERE, "pretrained_cfg", found, "an object")
    return found


def _refuse_others(config: Mapping[str, Any], prefixes: tuple[str, ...], classes: int) -> None:
    """Refuse the configuration of another architecture, or of another number of classes.

    Raises:
        ShapeError: it is.
    """
    name = str(config.get("architecture", prefixes[0]))
    if not name.startswith(prefixes):
        refuse_field(WHERE, "architecture", name, " or ".join(f"{prefix}..." for prefix in prefixes))
    if classes:
        refuse_contradicted(WHERE, config, {"num_classes": classes})


def _arguments(config: Mapping[str, Any], state: State, *prefixes: str) -> Mapping[str, Any]:
    """Read the constructor's arguments; one that is not known is refused.

    Args:
        config: config.json, empty where there is none.
        state: tensors by their names here.
        prefixes: what the architecture's name begins with.

    Raises:
        ShapeError: they are of another model, or change what is not modelled.
    """
    where, found = ARGUMENTS, config.get("model_args")
    if found is not None and not isinstance(found, Mapping):
        refuse_field(WHERE, "model_args", found, "an object")
    arguments: Mapping[str, Any] = found or {}
    _refuse_others(config, prefixes, classes(state) or classes(state, "head.projection"))
    expect(where, arguments, MODELLED)
    if "patch_size" in arguments and arguments["patch_size"] not in (4, [4, 4]):
        refuse_field(where, "patch_size", arguments["patch_size"], "4")
    expect(WHERE, config, {"global_pool": (None, "avg", "")})
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
            refuse_field(ARGUMENTS, "window_size", told, "the same window in every stage")
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
    default = UNSAID_CROP if told else 1.0 if min(size) >= WHOLE_IMAGE else CROP
    filter_ = told.get("interpolation", "bicubic")
    expect(where, {"interpolation": filter_}, {"interpolation": FILTERS})
    expect(where, told, {"crop_mode": ("center", "squash", None, "")})
    share = told.get("crop_pct") or default
    if not isinstance(share, int | float) or not 0 < share <= 1:
        refuse_field(where, "crop_pct", share, "a number above 0 and up to 1")
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
