"""DAT and DAT++: upstream's outputs in both forms of sampling, configurations from shapes and upstream's own, sizes."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slide_export.inference.fuse import inference_form, replace_layers
from slide_export.models import DataConfig, IncompleteError, ShapeError, dat
from slide_export.models.dat import Dat
from slide_export.models.dat_config import DatConfig
from slide_export.models.deformable_attention import FusedDeformableAttention, in_form
from slide_export.models.sampling import FORMS
from tests.conftest import randomise
from tests.models.dat_configs import PLUS_PLUS, SMALL
from tests.models.golden_recipe import Case, case

GOLDEN = 1e-5  # of the output's deviation: upstream and we both compute in float32, with sums in another order
FEATURE = 1e-5  # of the feature's largest value, as for every family
EXACT = 1e-12  # float64 on both sides, the same terms in another order

CASES = ("dat", "dat_far", "dat_tanh", "dat_pp", "dat_pp_pad", "dat_p")
TOLD_BY_SHAPES = ("dat", "dat_pp", "dat_pp_pad", "dat_p")  # the others have factors of their own
OTHERS = (
    replace(SMALL, offset_factors=(2.0, 2.0, 0.0, -1.0), depthwise_mlps=(True,) * 4, conv_patches=True),
    replace(PLUS_PLUS, offset_factors=(3.0, -1.0, 0.0, 2.0), layer_scales=(True, False, True, False)),
    replace(PLUS_PLUS, still=(True, False, False, True), biased=(True, True, False, True)),
    replace(PLUS_PLUS, blocks=("NS", "LS", "D", "D"), windows=(4, 4, 7, 7)),
)


def tree(golden: Case) -> dict[str, Any]:
    """Upstream's options as its configuration file nests them."""
    return {"MODEL": {"TYPE": "dat", "DAT": dict(golden.options)}, "DATA": {"IMG_SIZE": golden.options["img_size"]}}


def upstream(golden: Case) -> Dat:
    config = dat.read_config(tree(golden))
    assert config is not None
    model = Dat(config).eval()
    model.load_state_dict(golden.state, strict=True)
    return model


def model(config: DatConfig) -> Dat:
    torch.manual_seed(0)
    built = randomise(Dat(config))
    assert isinstance(built, Dat)
    return built


def sampled(fused: nn.Module, form: str) -> Dat:
    """The inference form with every deformable attention in a form of sampling."""
    other = replace_layers(fused, lambda x: in_form(x, form) if isinstance(x, FusedDeformableAttention) else None)
    assert isinstance(other, Dat)
    return other


def forms(trained: Dat) -> list[Dat]:
    return [trained, *(sampled(inference_form(trained), form) for form in FORMS)]


def distance(ours: Tensor, theirs: Any) -> float:
    expected = torch.from_numpy(theirs)
    return float((ours - expected).abs().max() / expected.std())


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_upstreams_in_every_form(name: str) -> None:
    golden = case(name)
    for ours in forms(upstream(golden)):
        with torch.inference_mode():
            logits, maps = ours(golden.inputs["input"]), ours.features(golden.inputs["input"])
        assert distance(logits, golden.outputs["logits"]) <= GOLDEN
        for stage, x in enumerate(maps, start=1):
            expected = torch.from_numpy(golden.outputs[f"feature.stage{stage}"])
            assert (x - expected).abs().max() <= FEATURE * expected.abs().max()


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("config", [SMALL, PLUS_PLUS, *OTHERS])
@pytest.mark.usefixtures("_double")
def test_forms_are_one_function(config: DatConfig) -> None:
    trained, images = model(config), torch.randn(2, 3, *config.image_size)
    with torch.inference_mode():
        expected = trained.features(images)
        for ours in forms(trained)[1:]:
            pairs = zip(ours.features(images), expected, strict=True)
            assert max(float((a - b).abs().max()) for a, b in pairs) < EXACT


def test_another_form_shares_the_weights() -> None:
    fused = inference_form(model(SMALL))
    grid = sampled(fused, "grid_sample")
    assert {layer.form for layer in grid.modules() if isinstance(layer, FusedDeformableAttention)} == {"grid_sample"}
    own = {id(value) for value in fused.parameters()}
    assert all(id(value) in own for value in grid.parameters())
    with pytest.raises(KeyError, match="bicubic"):
        sampled(fused, "bicubic")


@pytest.mark.parametrize("name", TOLD_BY_SHAPES)
def test_shapes_tell_what_upstreams_configuration_says(name: str) -> None:
    golden = case(name)
    assert dat.infer(golden.state) == dat.read_config(tree(golden))


@pytest.mark.parametrize("name", dat.VARIANTS)
def test_infer_reads_each_variant(name: str) -> None:
    config = dat.VARIANTS[name]
    with torch.device("meta"):
        told = dat.infer(Dat(config).state_dict())
    assert told == replace(config, image_size=config.bias_size or config.image_size, bias_size=None)


def test_config_of_dat_plus_plus_at_384_keeps_its_position_biases() -> None:
    big = dat.VARIANTS["dat_pp_base_384"]
    assert (big.image_size, big.bias_size, big.windows) == ((384, 384), (224, 224), (7,) * 4)
    assert big.at((224, 224)) == dat.VARIANTS["dat_pp_base"]
    options = {"img_size": 224, "dims": [128, 256, 512, 1024], "dim_stem": 128, "heads": [4, 8, 16, 32]}
    options |= {"depths": [2, 4, 18, 2], "stage_spec": [["N", "D"], ["N", "D"] * 2, ["N", "D"] * 9, ["D", "D"]]}
    options |= {"groups": [2, 4, 8, 16], "use_pes": [True] * 4, "strides": [8, 4, 2, 1], "ksizes": [9, 7, 5, 3]}
    options |= {"offset_range_factor": [-1] * 4, "use_dwc_mlps": [True] * 4, "use_lpus": [True] * 4}
    options |= {"use_conv_patches": True, "nat_ksizes": [7] * 4}
    told = {"MODEL": {"TYPE": "dat", "DAT": options}, "DATA": {"IMG_SIZE": 384}, "TEST": {"CROP": False}}
    assert dat.read_config(told) == big
    assert dat.read_data(told, big) == dat.read_data(None, big) == DataConfig(keep_aspect=False, scale=1.0)


def test_preprocessing_keeps_no_aspect_and_crops() -> None:
    assert dat.read_data(None, dat.VARIANTS["dat_base_384"]) == DataConfig(keep_aspect=False)
    told = {"DATA": {"INTERPOLATION": "bilinear"}}
    assert dat.read_data(told, dat.VARIANTS["dat_tiny"]).interpolation == "bilinear"
    assert dat.read_data(told, dat.VARIANTS["dat_pp_tiny"]).interpolation == "bicubic"


def test_dat_at_another_size_has_other_windows_and_tables() -> None:
    trained, wanted = SMALL, SMALL.at((128, 256))
    assert wanted.windows == (8, 8, 4, 7)
    state = dat.adapt(model(trained).state_dict(), trained, wanted)
    built = Dat(wanted)
    missing, unexpected = built.load_state_dict(dict(state), strict=False)
    assert not unexpected
    assert all(key.endswith(dat.REBUILT) for key in missing)
    assert state["stages.3.attns.0.rpe_table"].shape == (4, 7, 15)
    table = model(trained).state_dict()["stages.0.attns.0.relative_position_bias_table"].reshape(1, 7, 7)
    resized = torch.nn.functional.interpolate(table[None], size=(15, 15), mode="bicubic", align_corners=False)
    assert torch.equal(state["stages.0.attns.0.relative_position_bias_table"], resized.reshape(225, 1))


def test_dat_plus_plus_at_another_size_looks_its_biases_up() -> None:
    trained, wanted = PLUS_PLUS, PLUS_PLUS.at((128, 192))
    state = model(trained).state_dict()
    adapted = dat.adapt(state, trained, wanted)
    assert all(torch.equal(adapted[key], state[key]) for key in adapted)
    Dat(wanted).load_state_dict(dict(adapted), strict=True)
    assert wanted.at((64, 96)) == trained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": (60, 128)}, "windows of 4x4 do not divide"),
        ({"blocks": ("LS", "L", "LD", "E")}, "blocks of E, where L, S, N and D are modelled"),
        ({"still": (False, False, True, False)}, "whose points do not move"),
        ({"conv_patches": True, "image_size": (56, 120), "windows": (2, 1, 1, 1)}, "position biases for 3x7"),
    ],
)
def test_what_upstream_fails_on_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Dat(replace(SMALL, **change))


def test_dat_plus_plus_refuses_a_side_of_one() -> None:
    with pytest.raises(ShapeError, match="a map of 8x16 with 1x2 points: DAT"):
        PLUS_PLUS.at((32, 64))


def without(state: dict[str, Tensor], *endings: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith(endings)}


def renamed(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {key.replace(old, new): value for key, value in state.items()}


def test_what_no_key_tells_or_is_not_modelled_is_refused() -> None:
    state = model(PLUS_PLUS).state_dict()
    with pytest.raises(ShapeError, match="whether its points stand still"):
        dat.infer(without(state, "rpe_table"))
    with pytest.raises(ShapeError, match="that a layer computes"):
        dat.infer(renamed(state, "rpe_table", "rpe_table.0.weight"))
    sliding = renamed(without(state, "rpb"), "attns.0.qkv.weight", "attns.0.dep_conv1.weight")
    with pytest.raises(ShapeError, match="attention of letter E"):
        dat.infer(sliding)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dwc_pes", [False, False, True, True], "MODEL.DAT.dwc_pes"),
        ("fixed_pes", [False, False, True, True], "MODEL.DAT.fixed_pes"),
        ("patch_size", 8, "MODEL.DAT.patch_size 8"),
        ("dim_stem", 4, "stages double from dim_stem on"),
    ],
)
def test_a_configuration_that_is_not_modelled_is_refused(name: str, value: Any, message: str) -> None:
    told = copy.deepcopy(tree(case("dat")))
    told["MODEL"]["DAT"][name] = value
    with pytest.raises(ShapeError, match=message):
        dat.read_config(told)


def test_a_tree_that_says_too_little_is_told_what_it_lacks() -> None:
    with pytest.raises(IncompleteError, match=r"without MODEL\.DAT\.stage_spec, MODEL\.DAT\.dims"):
        dat.read_config({"MODEL": {"TYPE": "dat", "DAT": {"img_size": 224}}})
    assert dat.read_config({"MODEL": {"TYPE": "swin"}}) is None


@pytest.mark.parametrize("name", dat.PUBLISHED)
def test_parameters_are_near_the_published(name: str) -> None:
    with torch.device("meta"):
        count = sum(value.numel() for value in Dat(dat.VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(dat.PUBLISHED[name].parameters_m, abs=0.75)
