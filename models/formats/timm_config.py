"""timm's config.json: the architecture, the arguments of its constructor, and pretrained_cfg, the preprocessing.

Source: timm 1.0.31, timm/models/_hub.py, save_config_for_hf and _parse_model_cfg; timm/data/config.py.
"""

import re
from collections.abc import Mapping
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.family import State, classes

from .format import expect, pair, refuse_contradicted, refuse_field

WHERE, ARGUMENTS = "config.json", "model_args of config.json"
CROP = 0.9  # of every model here at 224, _cfg: crop_pct
WHOLE_IMAGE = 384  # whose models have crop_pct 1.0
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


def unsaid(config: Mapping[str, Any], pretrained: Mapping[str, Any], size: tuple[int, int]) -> tuple[str, ...]:
    """Say what of config.json is not read, and which of two inputs is taken."""
    known = KNOWN if "pretrained_cfg" in config else KNOWN | PRETRAINED
    unknown = sorted(str(name) for name in config if name not in known and not str(name).startswith("_"))
    sentences = [f"{WHERE} also has {', '.join(unknown[:8])}: taken for what changes no output"] if unknown else []
    told = pretrained.get("input_size")
    if told and pair(told[1:], "input_size") != size:
        sentences.append(f"{WHERE} has input_size {told} and the model's own img_size, which is taken")
    return tuple(sentences)


def with_processor(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take what config.json lacks of pretrained_cfg from preprocessor_config.json, as TimmWrapper writes it.

    Source: transformers 5.24.0, models/timm_wrapper/image_processing_timm_wrapper.py.

    Raises:
        ShapeError: the two have different ones.
    """
    told = processor.get("pretrained_cfg")
    if not isinstance(told, Mapping):
        return config
    own = pretrained_of(config)
    different = sorted(name for name in ("mean", "std", "crop_pct", "interpolation") if name in own and name in told)
    for name in different:
        if own[name] != told[name]:
            refuse_field("preprocessor_config.json", name, told[name], f"{own[name]!r}, as in {WHERE},")
    return {**config, "pretrained_cfg": {**told, **own}}


def read_labels(config: Mapping[str, Any], pretrained: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the class names; LABEL_0 and so on are what transformers writes where nobody named them."""
    places = (("label_names", config), ("label_names", pretrained), ("labels", pretrained))
    found = next((told for name, place in places if (told := place.get(name))), ())
    names = tuple(map(str, found.values() if isinstance(found, Mapping) else found))
    return () if all(name == f"LABEL_{number}" for number, name in enumerate(names)) else names


def images_told(config: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing pretrained_cfg tells."""
    told = pretrained_of(config)
    names = [name for name in ("mean", "std", "interpolation") if name in told]
    names += ["resize", "crop"] if "crop_pct" in told else []
    return dict.fromkeys(names, "config.json")


def pretrained_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
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


def read_arguments(config: Mapping[str, Any], state: State, *prefixes: str) -> Mapping[str, Any]:
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


def read_window(told: Any, architecture: str) -> tuple[int, int] | None:
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


def read_image_size(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[int, int] | None:
    """Read the input: the constructor's argument, else that of pretrained_cfg; None where neither is told."""
    if "img_size" in arguments:
        return pair(arguments["img_size"], "img_size")
    told = pretrained_of(config).get("input_size")
    return pair(told[1:], "input_size") if told else None


def read_data(config: Mapping[str, Any], size: tuple[int, int]) -> tuple[DataConfig, tuple[str, ...]]:
    """Read the preprocessing: pretrained_cfg, else the default of timm's models at this size.

    Source: timm/data/transforms_factory.py, transforms_imagenet_eval: the short side to floor(size / crop_pct), centre
    crop; both sides where crop_mode is "squash".
    """
    told, where = pretrained_of(config), "pretrained_cfg of config.json"
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
