"""Every wrapper that training codes write, and everything that is no checkpoint."""

import argparse
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from yacs.config import CfgNode

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.models import FAMILIES, family_of
from slide_export.models.config_tree import write_config
from slide_export.models.pvt import PvtConfig
from slide_export.models.swin import SwinTransformer
from tests.conftest import SMALL, randomise


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return randomise(SwinTransformer(SMALL)).state_dict()


def config_tree() -> CfgNode:
    tree = CfgNode()
    tree.MODEL = CfgNode({"TYPE": "slide_swin", "NUM_CLASSES": 10})
    tree.MODEL.SWIN = CfgNode({"EMBED_DIM": 16, "DEPTHS": [1, 2, 2, 1], "NUM_HEADS": [1, 2, 4, 8], "WINDOW_SIZE": 7})
    tree.MODEL.SLIDE = CfgNode({"KA": 3, "NUM_SLIDE_STAGES": 2})
    tree.DATA = CfgNode({"IMG_SIZE": 64, "INTERPOLATION": "bicubic"})
    tree.TEST = CfgNode({"CROP": False})
    return tree


def save(content: Any, tmp_path: Path) -> Path:
    path = tmp_path / "ckpt.pth"
    torch.save(content, path)
    return path


WRAPPERS = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state, "optimizer": {}, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=1.0)},
    "prefixed": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "upstream": lambda state: {"model": state, "config": config_tree(), "max_accuracy": 81.0},
    "no buffers": lambda state: {key: value for key, value in state.items() if "index" not in key},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_loads_every_weight(wrapper: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    model = load_checkpoint(save(WRAPPERS[wrapper](state), tmp_path))
    loaded = model.module.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert (model.family, model.image_size) == ("slide_swin", (64, 64))


def test_safetensors_loads(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "ckpt.safetensors")
    assert load_checkpoint(tmp_path / "ckpt.safetensors").variant == "slide_swin (custom)"


def test_config_tree_is_read_and_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    model = load_checkpoint(save({"model": state, "config": config_tree()}, tmp_path))
    assert "architecture from the checkpoint's own config" in model.provenance.notes
    assert not model.data.keep_aspect
    assert model.data.scale == 1.0


def test_ema_and_raw_are_told_apart(state: dict[str, Tensor], tmp_path: Path) -> None:
    ema = {key: value * 0.5 if value.is_floating_point() else value for key, value in state.items()}
    path = save({"model": state, "state_dict_ema": ema}, tmp_path)
    raw = load_checkpoint(path)
    assert torch.equal(raw.module.state_dict()["head.weight"], state["head.weight"])
    assert any("ema weights" in note for note in raw.provenance.notes)
    assert torch.equal(load_checkpoint(path, weights="ema").module.state_dict()["head.weight"], ema["head.weight"])


def test_missing_ema_is_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected ema weights .* found 'model'; it has 'model'"):
        load_checkpoint(save({"model": state}, tmp_path), weights="ema")


def test_half_weights_become_float32(state: dict[str, Tensor], tmp_path: Path) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    model = load_checkpoint(save(half, tmp_path))
    assert {value.dtype for value in model.module.parameters()} == {torch.float32}


def test_other_input_size_resizes_window_tables(state: dict[str, Tensor], tmp_path: Path) -> None:
    model = load_checkpoint(save(state, tmp_path), input_size=(96, 64))
    assert model.image_size == (96, 64)
    assert model.module(torch.zeros(1, 3, 96, 64)).shape == (1, 10)


def test_variant_overrides_and_a_wrong_one_lists_the_keys(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"misshapen .*expected \[96"):
        load_checkpoint(save(state, tmp_path), variant="slide_swin_tiny")


def one(tensor: Tensor, value: float) -> Tensor:
    """A copy with its last value changed."""
    changed = tensor.clone()
    changed.view(-1)[-1] = value
    return changed


BROKEN = {
    "missing": (lambda s: s.pop("norm.weight"), r"missing norm\.weight \[128\]"),
    "unexpected": (lambda s: s.update(extra=torch.zeros(2)), r"unexpected extra \[2\]"),
    "misshapen": (
        lambda s: s.update({"norm.bias": torch.zeros(3)}),
        r"misshapen norm\.bias: expected \[128\], found \[3\]",
    ),
    "nan": (lambda s: s.update({"head.bias": torch.full((10,), torch.nan)}), r"NaN or Inf in head\.bias"),
    "one nan": (lambda s: s.update({"head.bias": one(s["head.bias"], torch.nan)}), r"NaN or Inf in head\.bias"),
    "one inf": (lambda s: s.update({"head.weight": one(s["head.weight"], -torch.inf)}), r"NaN or Inf in head\.weight"),
    "altered buffer": (
        lambda s: s.update({"layers.2.blocks.0.attn.relative_position_index": torch.zeros(16, 16, dtype=torch.int64)}),
        "altered layers.2.blocks.0.attn.relative_position_index",
    ),
    "no known model": (lambda s: (s.clear(), s.update(conv=torch.zeros(1))), "no known model"),
    "mixed attention": (
        lambda s: s.update({"layers.3.blocks.0.attn.relative_position_bias_table": torch.zeros(1, 8, 1, 9, 1, 1)}),
        "first stages",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_unsound_state_is_refused_by_name(fault: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    broken = dict(state)
    BROKEN[fault][0](broken)
    with pytest.raises(CheckpointError, match=BROKEN[fault][1]):
        load_checkpoint(save(broken, tmp_path))


class Attack:
    """Asks the unpickler to run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(with_torch: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "ckpt.pth"
    if with_torch:
        torch.save({"model": Attack(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Attack(marker), protocol=2))
    with pytest.raises(CheckpointError, match=r"asks to import posix\.system, which could run code"):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("keep", [0, 10, 1000, 100_000])
def test_a_truncated_file_is_refused(keep: int, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = save(state, tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="expected a PyTorch checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n" * 50, bytes(range(256)) * 8, b"\x89PNG\r\n\x1a\n" + bytes(64)]
)
def test_another_kind_of_file_is_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("ckpt.pth", "ckpt.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"expected a (PyTorch checkpoint|safetensors file)"):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, torch.zeros(3), {}])
def test_a_file_without_weights_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected"):
        load_checkpoint(save(content, tmp_path))


def test_no_file_and_unknown_requests(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="found none at"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(RequestError, match="slide_swin_tiny"):
        load_checkpoint(checkpoint, variant="resnet50")
    with pytest.raises(RequestError, match="raw or ema"):
        load_checkpoint(checkpoint, weights="best")


def test_loading_leaves_the_random_state_alone(checkpoint: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    load_checkpoint(checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)


PARENTS = [
    (f"slide_{name}", name) for name in ("swin_tiny", "pvt_tiny", "pvt_v2_b1", "cswin_tiny", "nat_mini")
]  # smallest with a slide form


def zeros(variant: str) -> dict[str, Tensor]:
    """The state dict of a variant's shapes."""
    family = family_of(variant)
    with torch.device("meta"):
        module = family.build(family.variants[variant])
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in module.state_dict().items()}


@pytest.mark.parametrize("pair", PARENTS, ids=lambda pair: pair[1])
def test_a_variant_of_another_attention_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    for of, named in (pair, pair[::-1]):
        families = [family_of(name).name for name in (named, of)]
        with pytest.raises(
            CheckpointError, match=f"expected the keys of a {families[0]}, found those of a {families[1]}"
        ):
            load_checkpoint(save(zeros(of), tmp_path), variant=named)


def test_only_the_published_numbers_have_the_published_name(tmp_path: Path) -> None:
    slide_pvt = family_of("slide_pvt_tiny")
    published = slide_pvt.variants["slide_pvt_tiny"]
    for changes, name in (
        ({"num_classes": 7, "image_size": (64, 64)}, "slide_pvt_tiny"),
        ({"slide_stages": (0,)}, "slide_pvt (custom)"),
        ({"kernel_size": 5}, "slide_pvt (custom)"),
        ({"class_token": False}, "slide_pvt (custom)"),
    ):
        module = slide_pvt.build(replace(published, **changes))
        assert load_checkpoint(save(module.state_dict(), tmp_path)).variant == name


def test_what_no_shape_tells_is_said(tmp_path: Path) -> None:
    state = zeros("cswin_base_384")
    guessed = load_checkpoint(save(state, tmp_path))
    assert guessed.image_size == (224, 224)
    assert any("name a 384 model" in note for note in guessed.provenance.notes)
    named = load_checkpoint(save(state, tmp_path), variant="cswin_base_384")
    assert (named.variant, named.image_size, named.data.scale) == ("cswin_base_384", (384, 384), 1.0)
    assert not any("name a 384 model" in note for note in named.provenance.notes)


def test_a_checkpoint_without_a_head_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    body = {key: value for key, value in state.items() if not key.startswith("head.")}
    with pytest.raises(CheckpointError, match=r"found no head\.weight: export the file that has it"):
        load_checkpoint(save(body, tmp_path))


def test_a_segmenter_is_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = {f"backbone.{key}": value for key, value in state.items()} | {"decode_head.conv.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"a backbone beside decode_head: .*features"):
        load_checkpoint(save({"state_dict": whole}, tmp_path))


PVT = PvtConfig((16, 32, 48, 64), (1, 1, 1, 1), (1, 2, 3, 4), image_size=(64, 96), num_classes=10)
ODD_TREES: dict[str, Any] = {
    "no branches": {"DATA": "imagenet", "TEST": None},
    "one mean": {"DATA": {"MEAN": [0.5]}},
    "another filter": {"DATA": {"INTERPOLATION": "lanczos"}},
}


@pytest.mark.parametrize(
    ("name", "refused"), [("no branches", ""), ("one mean", r"DATA\.MEAN \[0\.5\]"), ("another filter", "bicubic or")]
)
def test_an_odd_configuration_of_images_is_one_sentence(
    name: str, refused: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save({"model": state, "config": ODD_TREES[name]}, tmp_path)
    if not refused:
        assert load_checkpoint(path).config.num_classes == 10
        return
    with pytest.raises(CheckpointError, match=refused):
        load_checkpoint(path)


def test_numbers_that_make_no_model_are_one_sentence(tmp_path: Path) -> None:
    pvt = next(family for family in FAMILIES if family.name == "pvt")
    tree = write_config(PVT, "pvt")
    tree["MODEL"]["PVT"]["HEADS"] = 3
    with pytest.raises(CheckpointError, match=r"MODEL\.PVT\.HEADS 3, where a list of values is expected"):
        load_checkpoint(save({"model": pvt.build(PVT).state_dict(), "config": tree}, tmp_path))
