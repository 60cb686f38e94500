"""Hugging Face transformers: Swin in both dialects, PVT, PVTv2, NAT and DiNAT.

The dialect of files (4.x, and what 5.x writes with save_pretrained) and that of memory (5.x state_dict(), as
torch.save, Lightning and accelerate write it) name the same tensors. Source: transformers 5.24.0,
models/swin/modeling_swin.py, models/pvt/modeling_pvt.py, models/pvt_v2/modeling_pvt_v2.py; 4.57.6,
models/deprecated/nat/modeling_nat.py and models/dinat/modeling_dinat.py.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from slide_export.models.family import ShapeError, State
from slide_export.models.layers import ACTIVATIONS

from .format import Beside, Format, Told, expect, handed_on, pair, refuse_contradicted, refuse_field, untold_input
from .key_map import Rule, joined, layer, layers, row
from .shapes import has, last_norm, swin_fields, windows_alike
from .transformers_images import images_told, read_images

WHERE = "config.json"
QKV_BIAS = r".*\.attn\.(qkv|q|kv)\.bias"
NO_QKV_BIAS = {QKV_BIAS: 0.0}


def _attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules of the older dialect's attention and MLP, which NAT shares with Swin."""
    inner = f"{theirs}.attention.self"
    return (
        layers((f"{inner}.query", f"{inner}.key", f"{inner}.value"), f"{ours}.attn.qkv"),
        layer(f"{theirs}.attention.output.dense", f"{ours}.attn.proj"),
        layer(f"{theirs}.intermediate.dense", f"{ours}.mlp.fc1"),
        layer(f"{theirs}.output.dense", f"{ours}.mlp.fc2"),
        layer(f"{theirs}.layernorm_before", f"{ours}.norm1"),
        layer(f"{theirs}.layernorm_after", f"{ours}.norm2"),
    )


def _swin_ends(merging: str) -> tuple[Rule, ...]:
    return (
        layer("embeddings.patch_embeddings.projection", "patch_embed.proj"),
        layer("embeddings.norm", "patch_embed.norm"),
        layer(f"{merging}.downsample.{{b}}", f"{merging.removeprefix('encoder.')}.downsample.{{b}}"),
        layer("classifier", "head"),
    )


BLOCK, OURS = "encoder.layers.{s}.blocks.{j}", "layers.{s}.blocks.{j}"
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
SWIN = (
    Rule(f"{BLOCK}.attention.self.{TABLE}", f"{OURS}.attn.{TABLE}"),
    Rule(f"{BLOCK}.attention.self.{INDEX}", f"{OURS}.attn.{INDEX}"),
    *_attention(BLOCK, OURS),
    *_swin_ends("encoder.layers.{s}"),
)
SWIN_IN_MEMORY = (
    Rule(f"{BLOCK}.attention.relative_position_bias.{TABLE}", f"{OURS}.attn.{TABLE}"),
    Rule(f"{BLOCK}.attention.relative_position_bias.{INDEX}", f"{OURS}.attn.{INDEX}"),
    layers(tuple(f"{BLOCK}.attention.{part}_proj" for part in "qkv"), f"{OURS}.attn.qkv"),
    layer(f"{BLOCK}.attention.o_proj", f"{OURS}.attn.proj"),
    layer(f"{BLOCK}.mlp.fc1", f"{OURS}.mlp.fc1"),
    layer(f"{BLOCK}.mlp.fc2", f"{OURS}.mlp.fc2"),
    layer(f"{BLOCK}.layernorm_before", f"{OURS}.norm1"),
    layer(f"{BLOCK}.layernorm_after", f"{OURS}.norm2"),
    *_swin_ends("encoder.layers.{s}"),
)


def swin_rules(blocks: tuple[Rule, ...]) -> Callable[[Collection[str]], tuple[Rule, ...]]:
    """Complete the key map: a SwinBackbone norms each map that it hands on, and does not use the last norm."""

    def rules(keys: Collection[str]) -> tuple[Rule, ...]:
        """Rules of a file whose last stage its keys tell.

        Raises:
            ShapeError: the stem's map, which is no stage's, is handed on.
        """
        last = 1 + max((int(m[1]) for key in keys if (m := re.match(r"encoder\.layers\.(\d+)\.", key))), default=3)
        norms = (
            layer(f"hidden_states_norms.stage{last}", "norm"),
            Rule("hidden_states_norms.stage{s}.{x}", "norm{s-1}.{x}"),
        )
        if has(keys, r"hidden_states_norms\.stem\."):
            raise ShapeError("a backbone that hands on the map of its stem: name stages alone in its out_features")
        if not has(keys, r"hidden_states_norms\."):
            return (*blocks, layer("layernorm", "norm"))
        return (*blocks, *norms, Rule("layernorm.{x}"), Rule("swin.layernorm.{x}"))

    return rules


LEVEL, OUR_LEVEL = "encoder.levels.{s}.layers.{j}", "levels.{s}.blocks.{j}"
NAT = (
    Rule("embeddings.patch_embeddings.projection.{x}", "patch_embed.proj.{x}"),
    layer("embeddings.norm", "patch_embed.norm"),
    Rule(f"{LEVEL}.attention.self.rpb", f"{OUR_LEVEL}.attn.rpb"),
    Rule(f"{LEVEL}.layer_scale_parameters", {f"{OUR_LEVEL}.gamma1": row(0), f"{OUR_LEVEL}.gamma2": row(1)}),
    *_attention(LEVEL, OUR_LEVEL),
    Rule("encoder.levels.{s}.downsample.{x}", "levels.{s}.downsample.{x}"),
    layer("layernorm", "norm"),
    layer("classifier", "head"),
)

EMBED, PVT_BLOCK, OUR_BLOCK = "encoder.patch_embeddings.{s}", "encoder.block.{s}.{j}", "block{s+1}.{j}"
PVT = (
    layer(f"{EMBED}.projection", "patch_embed{s+1}.proj"),
    layer(f"{EMBED}.layer_norm", "patch_embed{s+1}.norm"),
    Rule(f"{EMBED}.position_embeddings", "pos_embed{s+1}"),
    Rule(f"{EMBED}.cls_token", "cls_token"),
    layer(f"{PVT_BLOCK}.layer_norm_1", f"{OUR_BLOCK}.norm1"),
    layer(f"{PVT_BLOCK}.layer_norm_2", f"{OUR_BLOCK}.norm2"),
    layer(f"{PVT_BLOCK}.attention.self.query", f"{OUR_BLOCK}.attn.q"),
    layers((f"{PVT_BLOCK}.attention.self.key", f"{PVT_BLOCK}.attention.self.value"), f"{OUR_BLOCK}.attn.kv", joined),
    layer(f"{PVT_BLOCK}.attention.self.sequence_reduction", f"{OUR_BLOCK}.attn.sr"),
    layer(f"{PVT_BLOCK}.attention.self.layer_norm", f"{OUR_BLOCK}.attn.norm"),
    layer(f"{PVT_BLOCK}.attention.output.dense", f"{OUR_BLOCK}.attn.proj"),
    layer(f"{PVT_BLOCK}.mlp.dense1", f"{OUR_BLOCK}.mlp.fc1"),
    layer(f"{PVT_BLOCK}.mlp.dense2", f"{OUR_BLOCK}.mlp.fc2"),
    layer("encoder.layer_norm", "norm"),
    layer("classifier", "head"),
)

PVT_V2_STAGE = "encoder.layers.{s}"
PVT_V2_BLOCK = f"{PVT_V2_STAGE}.blocks.{{j}}"
PVT_V2 = (
    layer(f"{PVT_V2_STAGE}.patch_embedding.proj", "patch_embed{s+1}.proj"),
    layer(f"{PVT_V2_STAGE}.patch_embedding.layer_norm", "patch_embed{s+1}.norm"),
    layer(f"{PVT_V2_BLOCK}.layer_norm_1", f"{OUR_BLOCK}.norm1"),
    layer(f"{PVT_V2_BLOCK}.layer_norm_2", f"{OUR_BLOCK}.norm2"),
    layer(f"{PVT_V2_BLOCK}.attention.query", f"{OUR_BLOCK}.attn.q"),
    layers((f"{PVT_V2_BLOCK}.attention.key", f"{PVT_V2_BLOCK}.attention.value"), f"{OUR_BLOCK}.attn.kv", joined),
    layer(f"{PVT_V2_BLOCK}.attention.spatial_reduction", f"{OUR_BLOCK}.attn.sr"),
    layer(f"{PVT_V2_BLOCK}.attention.layer_norm", f"{OUR_BLOCK}.attn.norm"),
    layer(f"{PVT_V2_BLOCK}.attention.proj", f"{OUR_BLOCK}.attn.proj"),
    layer(f"{PVT_V2_BLOCK}.mlp.dense1", f"{OUR_BLOCK}.mlp.fc1"),
    layer(f"{PVT_V2_BLOCK}.mlp.dense2", f"{OUR_BLOCK}.mlp.fc2"),
    layer(f"{PVT_V2_BLOCK}.mlp.dwconv.dwconv", f"{OUR_BLOCK}.mlp.dwconv.dwconv"),
    layer(f"{PVT_V2_STAGE}.layer_norm", "norm{s+1}"),
    layer("classifier", "head"),
)


def _of_model(*types: str) -> Callable[[Mapping[str, Any]], None]:
    def check(config: Mapping[str, Any]) -> None:
        """Refuse a configuration of another model."""
        if config and config.get("model_type") not in types:
            refuse_field(WHERE, "model_type", config.get("model_type"), " or ".join(map(repr, types)))

    return check


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the class names; LABEL_0 and so on are what transformers writes where nobody named them."""
    named = config.get("id2label")
    if not named:
        return ()
    if not isinstance(named, Mapping) or not all(str(number).isdecimal() for number in named):
        refuse_field(WHERE, "id2label", named, "the names of numbers from 0 on")
    numbered = {int(number): str(name) for number, name in named.items()}
    if sorted(numbered) != list(range(len(numbered))):
        refuse_field(WHERE, "id2label", sorted(numbered), "numbers from 0 on")
    names = tuple(numbered[number] for number in range(len(numbered)))
    return () if all(name == f"LABEL_{number}" for number, name in enumerate(names)) else names


def _common(config: Mapping[str, Any], *, activations: Collection[str]) -> dict[str, Any]:
    """Read what every family has; refuse what none has."""
    expect(WHERE, config, {"num_channels": (3,), "use_absolute_embeddings": (False,), "hidden_act": tuple(activations)})
    if config.get("quantization_config"):
        refuse_field(WHERE, "quantization_config", config["quantization_config"], "none, of a model in float,")
    eps = config.get("layer_norm_eps")
    if isinstance(eps, int | float) and eps < 0:
        refuse_field(WHERE, "layer_norm_eps", eps, "a number from 0 on")
    unknown = sorted(name for name in config if name not in KNOWN and not name.startswith("_"))
    fields: dict[str, Any] = {"image_size": pair(config["image_size"])} if "image_size" in config else {}
    return {**fields, "unknown": unknown} if unknown else fields


def _refuse_contradicted(config: Mapping[str, Any], state: State) -> None:
    """Refuse a number of classes and biases that the tensors do not have.

    Raises:
        ShapeError: config.json tells others.
    """
    if "head.weight" in state and not config.get("id2label"):
        refuse_contradicted(WHERE, config, {"num_labels": state["head.weight"].shape[0]})
    if any(re.fullmatch(QKV_BIAS, key) for key in state):
        expect(WHERE, config, {"qkv_bias": (True, None)})


def _told(
    state: State,
    fields: dict[str, Any],
    beside: Beside,
    assumed: tuple[str, ...],
    filled: Mapping[str, float],
    kind: str,
) -> Told:
    _refuse_contradicted(beside.config, state)
    unknown = fields.pop("unknown", ())
    unread = (f"{WHERE} also has {', '.join(unknown[:8])}: taken for what changes no output",) if unknown else ()
    images, guesses = read_images(beside.preprocessor, beside.config, kind, fields.get("image_size", (224, 224)))
    if not beside.config:
        assumed = (
            *assumed,
            "no config.json beside the weights: epsilons, activation and windows are the library's defaults",
        )
    biased = beside.config.get("qkv_bias", True) if beside.config else False  # without it the names tell
    return Told(
        fields,
        images,
        _labels(beside.config) or beside.labels,
        WHERE if beside.config else "",
        assumed=(*assumed, *(guesses if beside.preprocessor else ()), *unread),
        filled=dict(filled) if biased else {**filled, **NO_QKV_BIAS},
        images=images_told(beside.preprocessor),
        images_assumed=() if beside.preprocessor else guesses,
    )


def read_swin(state: State, beside: Beside) -> Told:
    """Read a Swin: the window stays at every input size; a SwinBackbone shifts a map of one window, too.

    Source: SwinBackbone.forward, `always_partition=True`.
    """
    config = beside.config
    _of_model("swin", "swin-backbone")(config)
    expect(WHERE, config, {"patch_size": (4, [4, 4])})
    fields = {"resized_window": "keep", "small_maps": "joint", **_common(config, activations=ACTIVATIONS)}
    names = {
        "embed_dim": "embed_dim",
        "mlp_ratio": "mlp_ratio",
        "norm_eps": "layer_norm_eps",
        "activation": "hidden_act",
    }
    fields |= {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
    fields |= {
        ours: tuple(config[name]) for ours, name in (("depths", "depths"), ("heads", "num_heads")) if name in config
    }
    if "window_size" in config:
        fields["window"] = pair(config["window_size"], "window_size")
    told, fields = "image_size" in fields, swin_fields(state, fields, beside)
    guessed = not told and windows_alike(state)
    assumed = (untold_input(fields["image_size"], "32 times the window"),) if guessed else ()
    if has(beside.names, r"hidden_states_norms\.") or "SwinBackbone" in (config.get("architectures") or ()):
        last = (len(fields["depths"]) - 1,) if "norm.weight" in state else ()
        norms = (*fields["feature_norms"], *last)
        fields |= {"feature_norms": norms, "feature_stages": norms, "small_maps": "pad-and-shift"}
    return _told(state, fields, beside, assumed, last_norm(state), "vit")


def _pyramid(config: Mapping[str, Any], reductions: str) -> dict[str, Any]:
    fields = _common(config, activations=("gelu",))
    names = {
        "embed_dims": "hidden_sizes",
        "depths": "depths",
        "heads": "num_attention_heads",
        "mlp_ratios": "mlp_ratios",
        "reductions": reductions,
    }
    fields |= {ours: tuple(config[theirs]) for ours, theirs in names.items() if theirs in config}
    eps = config.get("layer_norm_eps", 1e-6)  # everywhere, the patch embeddings' and the reduced map's norm included
    return {**fields, "norm_eps": eps, "embed_eps": eps, "reduced_eps": eps}


def read_pvt(state: State, beside: Beside) -> Told:
    """Read a PVT: its patches and strides are the published ones."""
    config = beside.config
    _of_model("pvt")(config)
    expect(WHERE, config, {"patch_sizes": ([4, 2, 2, 2],), "strides": ([4, 2, 2, 2],)})
    return _told(state, _pyramid(config, "sequence_reduction_ratios"), beside, (), {}, "pvt")


def _out_features(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the stages (0-based) whose maps a backbone hands on; the last one where nothing is said.

    Raises:
        ShapeError: one is no stage.
    """
    names = config.get("out_features") or ["stage4"]
    stages = [match and int(match[1]) - 1 for match in (re.fullmatch(r"stage(\d)", str(name)) for name in names)]
    if None in stages:
        refuse_field(WHERE, "out_features", names, "names of stages")
    return handed_on(WHERE, "out_features", (stage for stage in stages if stage is not None), names)


def read_pvt_v2(state: State, beside: Beside) -> Told:
    """Read a PVTv2; the linear form has a reduction of one in every stage, whatever the configuration's ratios say."""
    config = beside.config
    _of_model("pvt_v2")(config)
    expect(WHERE, config, {"patch_sizes": ([7, 3, 3, 3],), "strides": ([4, 2, 2, 2],)})
    fields = _pyramid(config, "sr_ratios")
    if "PvtV2Backbone" in (config.get("architectures") or ()):
        fields["feature_stages"] = _out_features(config)
    if "linear_attention" in config:
        fields["linear"] = bool(config["linear_attention"])
    return _told(state, fields, beside, (), {}, "pvt")


def read_nat(state: State, beside: Beside) -> Told:
    """Read a NAT: no configuration tells its input."""
    _of_model("nat")(beside.config)
    return _told(state, _neighbours(beside.config), beside, (), {}, "vit")


def read_dinat(state: State, beside: Beside) -> Told:
    """Read a DiNAT: its dilations stand in config.json alone.

    Raises:
        ShapeError: there is none.
    """
    config = beside.config
    _of_model("dinat")(config)
    if "dilations" not in config:
        raise ShapeError("a DiNAT without its dilations, which stand in config.json alone: export its folder")
    dilations = tuple(tuple(int(d) for d in level) for level in config["dilations"])
    fields = {**_neighbours(config), "dilations": dilations}
    return _told(state, fields, beside, (), {}, "vit")


def _neighbours(config: Mapping[str, Any]) -> dict[str, Any]:
    expect(WHERE, config, {"patch_size": (4, [4, 4])})
    fields = _common(config, activations=ACTIVATIONS)
    names = {
        "norm_eps": "layer_norm_eps",
        "activation": "hidden_act",
        "mlp_ratio": "mlp_ratio",
        "kernel_size": "kernel_size",
    }
    fields |= {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
    return fields | ({"heads": tuple(config["num_heads"])} if "num_heads" in config else {})


KNOWN = frozenset(
    """
    image_size patch_size patch_sizes strides num_channels embed_dim depths num_heads num_attention_heads window_size
    mlp_ratio mlp_ratios qkv_bias hidden_act use_absolute_embeddings layer_norm_eps hidden_sizes hidden_size kernel_size
    sequence_reduction_ratios sr_ratios linear_attention dilations layer_scale_init_value num_encoder_blocks num_layers
    num_hidden_layers model_type id2label label2id num_labels architectures transformers_version torch_dtype dtype
    hidden_dropout_prob attention_probs_dropout_prob drop_path_rate initializer_range encoder_stride out_features
    out_indices stage_names problem_type return_dict output_attentions output_hidden_states output_scores
    return_dict_in_generate chunk_size_feed_forward is_encoder_decoder is_decoder add_cross_attention
    cross_attention_hidden_size pruned_heads tie_word_embeddings tie_encoder_decoder torchscript use_bfloat16
    tf_legacy_loss finetuning_task task_specific_params tokenizer_class prefix bos_token_id pad_token_id eos_token_id
    sep_token_id decoder_start_token_id max_length min_length do_sample early_stopping num_beams num_beam_groups
    diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences begin_suppress_tokens suppress_tokens
    exponential_decay_length_penalty remove_invalid_values forced_bos_token_id forced_eos_token_id path_norm use_cache
    gradient_checkpointing reshape_last_stage
    """.split()  # noqa: SIM905
)
"""Fields that are read, that shapes tell, or that every configuration of transformers has and that change no output."""

OLD_QUERY = "encoder.layers.0.blocks.0.attention.self.query.weight"
NEW_QUERY = "encoder.layers.0.blocks.0.attention.q_proj.weight"
FORMATS = (
    Format("transformers Swin", "swin", lambda keys: OLD_QUERY in keys, swin_rules(SWIN), read_swin),
    Format(
        "transformers Swin (names of 5.x in memory)",
        "swin",
        lambda keys: NEW_QUERY in keys,
        swin_rules(SWIN_IN_MEMORY),
        read_swin,
    ),
    Format(
        "transformers PVT", "pvt", lambda keys: has(keys, r"encoder\.patch_embeddings\.0\.projection\."), PVT, read_pvt
    ),
    Format(
        "transformers PVTv2",
        "pvt_v2",
        lambda keys: has(keys, r"encoder\.layers\.0\.patch_embedding\.proj\."),
        PVT_V2,
        read_pvt_v2,
    ),
)
NAT_FORMAT = Format("transformers NAT", "nat", lambda keys: has(keys, r"encoder\.levels\.0\.layers\."), NAT, read_nat)
DINAT_FORMAT = Format("transformers DiNAT", "nat", NAT_FORMAT.matches, NAT, read_dinat)
"""NAT and DiNAT have the same names: the prefix or config.json tells them apart."""
