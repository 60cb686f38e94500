"""MViTv2: upstream's outputs, fused forms, configurations from shapes and from upstream's own, sizes, 5-D files."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.inference.fuse import inference_form
from slide_export.models import ShapeError, mvitv2
from slide_export.models.mvitv2 import MvitV2, MvitV2Config
from slide_export.models.pooling_attention import distances, spread
from tests.conftest import randomise
from tests.models.golden_recipe import Case, case

GOLDEN = 1e-5  # of the output's deviation: upstream and we both compute in float32, with sums in another order
EXACT = 1e-12  # float64 on both sides, the same terms in another order

CASES = ("mvitv2", "mvitv2_l", "mvitv2_odd")
SMALL = MvitV2Config(16, 5, 1, (1, 3, 4), image_size=(64, 96), num_classes=10)
LARGE = MvitV2Config(16, 6, 2, (2, 4, 5), widens_in_attention=False, image_size=(64, 64), num_classes=10)


def tree(golden: Case) -> dict[str, Any]:
    """Upstream's options as its `cfg.dump()` nests them."""
    nested: dict[str, Any] = {}
    for name, value in golden.options.items():
        branch, _, leaf = name.partition(".")
        nested.setdefault(branch, {})[leaf] = value
    return nested


def upstream(golden: Case) -> MvitV2:
    config = mvitv2.read_config(tree(golden))
    assert config is not None
    model = MvitV2(config).eval()
    model.load_state_dict(golden.state, strict=True)
    return model


def model(config: MvitV2Config) -> MvitV2:
    torch.manual_seed(0)
    built = randomise(MvitV2(config))
    assert isinstance(built, MvitV2)
    return built


def distance(ours: Tensor, theirs: Any) -> float:
    expected = torch.from_numpy(theirs)
    return float((ours - expected).abs().max() / expected.std())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fused", [False, True])
def test_outputs_are_upstreams(name: str, fused: bool) -> None:
    golden = case(name)
    trained = upstream(golden)
    ours = inference_form(trained) if fused else trained
    assert isinstance(ours, MvitV2)
    with torch.inference_mode():
        logits, maps = ours(golden.inputs["input"]), ours.maps(golden.inputs["input"])
    assert distance(logits, golden.outputs["logits"]) <= GOLDEN
    assert distance(logits.softmax(dim=1), golden.outputs["probabilities"]) <= GOLDEN
    for stage, x in enumerate(maps, start=1):
        assert distance(x.flatten(1, 2), golden.outputs[f"feature.stage{stage}"]) <= GOLDEN


@pytest.mark.parametrize("name", CASES)
def test_infer_reads_what_upstreams_configuration_says(name: str) -> None:
    golden = case(name)
    assert mvitv2.infer(golden.state) == mvitv2.read_config(tree(golden))
    assert mvitv2.infer(golden.state).stage_ends == tuple(golden.meta["stage_ends"])


@pytest.mark.parametrize("config", [SMALL, LARGE, replace(SMALL, residual_pooling=False), SMALL.at((32, 64))])
def test_fused_model_is_the_trained_one(config: MvitV2Config) -> None:
    built, images = model(config).double(), torch.randn(2, 3, *config.image_size, dtype=torch.float64)
    fused = inference_form(built)
    with torch.inference_mode():
        assert (fused(images) - built(images)).abs().max() < EXACT


@pytest.mark.parametrize("name", mvitv2.VARIANTS)
def test_infer_reads_each_variant(name: str) -> None:
    with torch.device("meta"):
        assert mvitv2.infer(MvitV2(mvitv2.VARIANTS[name]).state_dict()) == mvitv2.VARIANTS[name]


def test_strides_of_the_keys_that_no_table_tells_are_refused() -> None:
    assert mvitv2.infer(model(replace(SMALL, kv_stride=8)).state_dict()).kv_stride == 8
    for stride in (1, 2, 16):
        with pytest.raises(ShapeError, match="leave the stride of the keys open"):
            mvitv2.infer(model(replace(SMALL, kv_stride=stride)).state_dict())


def test_distances_are_cut_toward_zero() -> None:
    assert distances(3, 5).tolist() == [[4, 3, 2, 1, 0], [5, 4, 3, 2, 1], [7, 6, 5, 4, 3]]
    assert distances(4, 2).tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]


def test_spread_repeats_rows_and_columns() -> None:
    per_row, per_col = torch.randn(2), torch.randn(3)
    expected = (per_row[:, None] + per_col).flatten()
    assert torch.allclose(torch.cat((per_row, per_col)) @ spread(2, 3), expected, rtol=0, atol=1e-6)


def checkpoint(state: dict[str, Tensor], path: Path, cfg: str = "MVIT: {}\n") -> Path:
    """Write a checkpoint as upstream's training code does."""
    torch.save({"epoch": 299, "model_state": state, "optimizer_state": {}, "cfg": cfg}, path)
    return path


def test_a_released_file_has_convolutions_of_one_frame(tmp_path: Path) -> None:
    golden = case("mvitv2")
    frames = {key: value.unsqueeze(2) if value.ndim == 4 else value for key, value in golden.state.items()}
    loaded = load_checkpoint(checkpoint(frames, tmp_path / "mvitv2.pyth"))
    assert (loaded.family, loaded.image_size) == ("mvitv2", (64, 64))
    with torch.inference_mode():
        assert distance(loaded.module(golden.inputs["input"]), golden.outputs["logits"]) <= GOLDEN


def test_upstreams_own_configuration_is_believed(tmp_path: Path) -> None:
    golden = case("mvitv2")
    told = tree(golden)
    told["MVIT"]["RESIDUAL_POOLING"] = False
    told["DATA"] |= {"MEAN": [0.5, 0.5, 0.5], "STD": [0.5, 0.5, 0.5], "VAL_CROP_RATIO": 0.0}
    loaded = load_checkpoint(checkpoint(golden.state, tmp_path / "mvitv2.pyth", yaml.safe_dump(told)))
    assert loaded.config == replace(mvitv2.infer(golden.state), residual_pooling=False)
    assert (loaded.data.mean[0], loaded.data.keep_aspect, loaded.data.scale) == (0.5, False, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MODE", "max", "MVIT.MODE 'max', where 'conv' alone is modelled"),
        ("CLS_EMBED_ON", True, "MVIT.CLS_EMBED_ON True"),
        ("POOL_KVQ_KERNEL", [5, 5], r"MVIT.POOL_KVQ_KERNEL \[5, 5\]"),
        ("DIM_MUL", [[1, 2.0], [3, 3.0], [6, 2.0]], "heads and widths double"),
        ("HEAD_MUL", [[1, 2.0], [4, 2.0], [6, 2.0]], "heads and widths double"),
        ("POOL_KV_STRIDE_ADAPTIVE", [4, 2], "heads and widths double"),
    ],
)
def test_a_configuration_that_is_not_modelled_is_refused(name: str, value: Any, message: str, tmp_path: Path) -> None:
    golden = case("mvitv2")
    told = copy.deepcopy(tree(golden))
    told["MVIT"][name] = value
    with pytest.raises(ShapeError, match=message):
        mvitv2.read_config(told)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint(golden.state, tmp_path / "mvitv2.pyth", yaml.safe_dump(told)))


def test_a_configuration_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a configuration in YAML under 'cfg'"):
        load_checkpoint(checkpoint(case("mvitv2").state, tmp_path / "mvitv2.pyth", "MVIT: ["))


def test_other_sizes_have_tables_of_their_own() -> None:
    trained, wanted = SMALL, SMALL.at((128, 160))
    state = mvitv2.adapt(model(trained).state_dict(), trained, wanted)
    MvitV2(wanted).load_state_dict(dict(state), strict=True)
    assert torch.equal(state["blocks.0.attn.qkv.weight"], model(trained).state_dict()["blocks.0.attn.qkv.weight"])
    table = model(trained).state_dict()["blocks.0.attn.rel_pos_h"]
    assert state["blocks.0.attn.rel_pos_h"].shape == (63, 16)
    at = (torch.arange(63) + 0.5) * 31 / 63 - 0.5  # centres of the new rows among the old ones
    at = at.clamp(0, 30)
    below = at.floor().long()
    expected = torch.lerp(table[below], table[(below + 1).clamp(max=30)], (at - below)[:, None])
    assert (state["blocks.0.attn.rel_pos_h"] - expected).abs().max() < 1e-6  # rounding of float32


def test_a_size_whose_distances_no_table_holds_is_refused() -> None:
    with pytest.raises(ShapeError, match="a table of 15 lacks: sides of the input that are multiples of 32 fit"):
        SMALL.at((66, 64))
    assert SMALL.at((64, 224)).image_size == (64, 224)


@pytest.mark.parametrize("name", mvitv2.VARIANTS)
def test_parameters_are_near_the_published(name: str) -> None:
    with torch.device("meta"):
        count = sum(value.numel() for value in MvitV2(mvitv2.VARIANTS[name]).parameters())
    assert count / 1e6 == pytest.approx(mvitv2.PUBLISHED[name].parameters_m, abs=0.6)
