"""What shapes and upstream's configuration tell of a DAT, and what they leave open or ask for in vain."""

from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.models.dat_format import PP_OPTIONS, _image_size, _letter, _Stage, matches, read_config
from slide_export.models.family import IncompleteError, ShapeError

PLACE = "stages.1.attns.0."


def keys(*names: str) -> dict[str, Tensor]:
    return {f"{PLACE}{name}": torch.empty(1, device="meta") for name in names}


@pytest.mark.parametrize(
    ("names", "letter"),
    [
        (["proj_qkv.weight"], "L"),
        (["proj_qkv.weight", "attn_mask"], "S"),
        (["rpb"], "N"),
        (["conv_offset.0.weight", "rpe_table"], "D"),
    ],
)
def test_an_attention_is_told_by_its_keys(names: list[str], letter: str) -> None:
    assert _letter(keys(*names), PLACE) == letter


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["kv.weight"], "letter P"),
        (["weight"], "letter X"),
        (["dep_conv1.weight"], "letter E"),
        (["q_param"], "letter Q"),
        (["another"], r"letter \?"),
        (["conv_offset.0.weight"], "whether its points stand still"),
        (["conv_offset.0.weight", "rpe_table.0.weight"], "that a layer computes"),
    ],
)
def test_an_attention_that_is_not_modelled_is_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence) as refused:
        _letter(keys(*names), PLACE)
    assert "stages.1.attns.0" in str(refused.value)


def test_a_dat_has_a_patch_a_norm_and_a_first_attention() -> None:
    whole = dict.fromkeys(["patch_proj.0.weight", "cls_norm.norm.weight", "stages.0.attns.0.proj_qkv.weight"])
    assert matches(whole)  # type: ignore[arg-type]
    for name in whole:
        assert not matches({key: value for key, value in whole.items() if key != name})  # type: ignore[arg-type]


def stage(number: int, letters: str, **tensors: tuple[int, ...]) -> _Stage:
    named = {"layer_norms.0.norm.weight": (64,), **{key.replace("__", "."): sides for key, sides in tensors.items()}}
    state = {f"stages.{number}.{name}": torch.empty(sides, device="meta") for name, sides in named.items()}
    return _Stage(state, number, letters)


def test_a_stage_of_windows() -> None:
    found = stage(0, "LS", attns__0__relative_position_bias_table=(169, 2), attns__1__attn_mask=(64, 49, 49))
    assert (found.dim, found.heads, found.window, found.groups) == (64, 2, 7, 1)
    assert (found.offset_kernel, found.neighborhood) == (9, 7)  # of what it has not, the published
    assert found.image_size == (224, 224)  # 64 windows of 49 tokens: a map of 56
    assert stage(1, "S", attns__0__attn_mask=(16, 49, 49)).image_size == (224, 224)
    assert stage(0, "L").image_size is None


def test_a_stage_of_deformable_attention() -> None:
    found = stage(
        2,
        "ND",
        attns__0__rpb=(4, 5, 5),
        attns__1__rpe_table=(4, 27, 25),
        attns__1__conv_offset__0__weight=(16, 1, 5, 5),
    )
    assert (found.heads, found.groups, found.offset_kernel, found.neighborhood) == (4, 4, 5, 3)
    assert found.image_size == (14 * 16, 13 * 16)
    assert found.window == 7


@pytest.mark.parametrize("name", ["chunk__linear1", "linear1__0", "linear1"])
def test_the_hidden_width_of_each_kind_of_mlp(name: str) -> None:
    assert stage(0, "L", **{f"mlps__0__{name}__bias": (256,)}).hidden == 256


def test_the_input_is_that_of_position_biases_before_a_masks() -> None:
    shifted = stage(0, "LS", attns__1__attn_mask=(64, 49, 49))
    biased = stage(2, "D", attns__0__rpe_table=(4, 47, 47))
    assert _image_size([shifted, biased]) == (384, 384)
    assert _image_size([shifted]) == (224, 224)
    assert _image_size([stage(0, "L")]) == (224, 224)


OPTIONS: dict[str, Any] = {
    "img_size": 224, "stage_spec": [["L", "S"], ["L", "S"], ["L", "D"], ["L", "D"]], "dims": [8, 16, 32, 64],
    "heads": [1, 2, 4, 8], "strides": [-1, -1, 2, 1], "groups": [-1, -1, 2, 4], "window_sizes": [7, 7, 14, 7],
    "offset_range_factor": [-1, -1, 3, 4],
}  # fmt: skip


def read(data: dict[str, Any] | None = None, **changes: Any) -> Any:
    return read_config({"MODEL": {"DAT": {**OPTIONS, **changes}}, "DATA": data or {}})


def test_an_option_counts_in_the_stages_that_have_its_attention() -> None:
    found = read()
    assert (found.groups, found.windows) == ((1, 1, 2, 4), (7, 7, 14, 7))
    assert (found.strides, found.offset_factors) == ((1, 1, 2, 1), (2.0, 2.0, 3.0, 4.0))
    assert (found.blocks, found.plus_plus) == (("LS", "LS", "LD", "LD"), False)


@pytest.mark.parametrize("name", PP_OPTIONS)
def test_an_option_of_the_second_generation_tells_it(name: str) -> None:
    found = read(**{name: [False] * 4 if name in ("use_lpus", "log_cpb") else [3, 3, 3, 3]})
    assert found.plus_plus
    assert (found.strides, found.offset_factors[:2]) == ((8, 4, 2, 1), (-1.0, -1.0))


def test_biases_of_the_second_generation_keep_the_input_that_they_were_made_for() -> None:
    assert read({"IMG_SIZE": 384}, use_lpus=[True] * 4).bias_size == (224, 224)
    assert read({"IMG_SIZE": 384}, use_lpus=[True] * 4).image_size == (384, 384)
    assert read({"IMG_SIZE": 224}, use_lpus=[True] * 4).bias_size is None
    assert read({"IMG_SIZE": 384}).bias_size is None


def test_a_scale_of_nothing_is_none() -> None:
    assert read(layer_scale_values=[-1, 0, 1e-5, 1]).layer_scales == (False, False, True, True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch_size": 8}, "patch_size 8"),
        ({"log_cpb": [False, False, True, False]}, "log_cpb"),
        ({"dim_stem": 4}, "stages double"),
        ({"dims": [8, 16, 32, 65]}, "stages double"),
        ({"window": 7}, r"MODEL\.DAT\.window 7"),
        ({"groups": [1, 1, 2.5, 4]}, r"MODEL\.DAT\.groups"),
        ({"strides": [1, 1]}, "of another form"),
        ({"expansion": "4"}, r"MODEL\.DAT\.expansion"),
    ],
)
def test_options_that_are_not_modelled_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        read(**changes)


def test_biases_that_a_layer_computes_are_refused_where_a_stage_deforms() -> None:
    assert read(dwc_pes=[True, True, False, False]).groups == (1, 1, 2, 4)
    with pytest.raises(ShapeError, match="dwc_pes"):
        read(dwc_pes=[False, False, False, True])


@pytest.mark.parametrize("name", ["stage_spec", "dims", "heads", "strides"])
def test_an_option_that_is_missing_is_named(name: str) -> None:
    options = {key: value for key, value in OPTIONS.items() if key != name}
    with pytest.raises(IncompleteError) as refused:
        read_config({"MODEL": {"DAT": options}})
    assert refused.value.missing == (f"MODEL.DAT.{name}",)
