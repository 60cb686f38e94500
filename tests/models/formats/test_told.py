"""What the libraries' own files say: preprocessing, labels, fields that are refused, and who assumed what."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.core.model import Model
from slide_export.models.data import IMAGENET_MEAN, IMAGENET_STD
from tests.exporter.checkpoint.foreign import golden, write_folder

LABELS = [f"class {number}" for number in range(10)]


def folder(name: str, tmp_path: Path, config: dict[str, Any], images: dict[str, Any] | None = None) -> Path:
    drawn = golden(name)
    place = write_folder(drawn, tmp_path)
    (place / "config.json").write_text(json.dumps(config))
    if images is not None:
        (place / "preprocessor_config.json").write_text(json.dumps(images))
    return place


def transformers(name: str, tmp_path: Path, images: dict[str, Any] | None = None, **changes: Any) -> Model:
    config = {**golden(name).meta["arguments"], **changes}
    return load_checkpoint(folder(name, tmp_path, config, images))


IMAGES = {
    "do_resize": True,
    "size": {"height": 64, "width": 64},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "image_processor_type": "ViTImageProcessor",
}
VARIATIONS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "as saved": ({}, (IMAGENET_MEAN, "bicubic", False, (64, 64))),
    "one number": ({"size": 64, "resample": 2}, (IMAGENET_MEAN, "bilinear", False, (64, 64))),
    "centre crop": (
        {"size": {"shortest_edge": 73}, "do_center_crop": True, "crop_size": {"height": 64, "width": 64}},
        (IMAGENET_MEAN, "bicubic", True, (73, 73)),
    ),
    "not normalised": ({"do_normalize": False}, ((0.0, 0.0, 0.0), "bicubic", False, (64, 64))),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_preprocessor_config_decides(name: str, tmp_path: Path) -> None:
    changes, (mean, filter_, keep_aspect, resized) = VARIATIONS[name]
    loaded = transformers("hf_swin", tmp_path, {**IMAGES, **changes})
    data = loaded.data
    assert (data.mean, data.interpolation, data.keep_aspect, data.resized((64, 64))) == (
        mean,
        filter_,
        keep_aspect,
        resized,
    )
    assert loaded.provenance.assumed == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resample": 1}, r"resample 1 in preprocessor_config\.json"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor"),
        ({"do_rescale": False}, "do_rescale False"),
        ({"image_mean": 0.5}, "image_mean 0.5"),
    ],
)
def test_preprocessing_that_is_not_modelled_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        transformers("hf_swin", tmp_path, {**IMAGES, **changes})


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("hf_swin", "5.24.0", ((0.5, 0.5, 0.5), "bilinear")),
        ("hf_pvt", "5.24.0", (IMAGENET_MEAN, "bicubic")),
        ("hf_pvt", "4.57.6", (IMAGENET_MEAN, "bilinear")),
    ],
)
def test_the_default_of_transformers_is_assumed_aloud(
    name: str, version: str, expected: tuple[Any, ...], tmp_path: Path
) -> None:
    loaded = transformers(name, tmp_path, transformers_version=version)
    assert (loaded.data.mean, loaded.data.interpolation) == expected
    assert any("no preprocessor_config.json" in sentence for sentence in loaded.provenance.assumed)


FIELDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "activation": ("hf_swin", {"hidden_act": "gelu_new"}, "hidden_act 'gelu_new'"),
    "positions": ("hf_swin", {"use_absolute_embeddings": True}, "use_absolute_embeddings True"),
    "patches": ("hf_swin", {"patch_size": 2}, "patch_size 2"),
    "another model": ("hf_swin", {"model_type": "swinv2"}, "model_type 'swinv2'"),
    "strides": ("hf_pvt", {"strides": [4, 2, 2, 1]}, r"strides \[4, 2, 2, 1\]"),
    "activation of a pyramid": ("hf_pvt_v2", {"hidden_act": "relu"}, "hidden_act 'relu'"),
    "depths": ("hf_swin", {"depths": [2, 2, 4, 1]}, "missing layers.2.blocks.2"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_configuration_is_believed_whole_or_refused(name: str, tmp_path: Path) -> None:
    case, changes, sentence = FIELDS[name]
    with pytest.raises(CheckpointError, match=sentence):
        transformers(case, tmp_path, **changes)


def test_labels_are_taken_unless_they_are_placeholders(tmp_path: Path) -> None:
    named = {str(number): name for number, name in enumerate(LABELS)}
    assert transformers("hf_swin", tmp_path, id2label=named).labels == tuple(LABELS)
    (tmp_path / "again").mkdir()
    assert transformers("hf_swin", tmp_path / "again").labels == ()  # LABEL_0, LABEL_1, ...


def test_a_field_that_is_not_known_is_said(tmp_path: Path) -> None:
    loaded = transformers("hf_swin", tmp_path, window_flavour="new")
    assert any("also has window_flavour" in note for note in loaded.provenance.notes)


def timm_config(**changes: Any) -> dict[str, Any]:
    pretrained = {
        "input_size": [3, 64, 64],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
    }
    arguments = {"img_size": [64, 64], "window_size": 3, **changes.pop("model_args", {})}
    config = {"architecture": "swin_tiny_patch4_window7_224", "num_classes": 10, "global_pool": "avg"}
    return {**config, "model_args": arguments, "pretrained_cfg": {**pretrained, **changes.pop("pretrained_cfg", {})}}


def test_timm_says_window_input_and_preprocessing(tmp_path: Path) -> None:
    config = timm_config(pretrained_cfg={"crop_pct": 0.8, "mean": [0.1, 0.2, 0.3]}) | {"label_names": LABELS}
    loaded = load_checkpoint(folder("timm_swin_pad", tmp_path, config))
    assert (loaded.config.window, loaded.image_size, loaded.config.roll_first) == ((3, 3), (64, 64), True)
    assert (loaded.data.mean, loaded.data.resized((64, 64))) == ((0.1, 0.2, 0.3), (80, 80))
    assert (loaded.labels, loaded.provenance.assumed) == (tuple(LABELS), ())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_args": {"in_chans": 1}}, "in_chans 1"),
        ({"model_args": {"global_pool": "max"}}, "global_pool 'max'"),
        ({"model_args": {"norm_layer": "rmsnorm"}}, "norm_layer 'rmsnorm'"),
        ({"model_args": {"window_size": [[3, 3], [2, 2], [3, 3], [2, 2]]}}, "the same window in every stage"),
        ({"model_args": {"unheard_of": 1}}, "unheard_of 1"),
        ({"pretrained_cfg": {"crop_mode": "border"}}, "crop_mode 'border'"),
        ({"pretrained_cfg": {"interpolation": "lanczos"}}, "interpolation 'lanczos'"),
    ],
)
def test_what_timm_says_and_is_not_modelled_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder("timm_swin_pad", tmp_path, timm_config(**changes)))


OPENMMLAB = """
default_scope = 'mmpretrain'
size = 64
model = dict(type='ImageClassifier', backbone=dict(type='SwinTransformer', arch=dict(embed_dims=16, depths=[2, 2, 2, 1],
    num_heads=[1, 2, 4, 8]), img_size=size, window_size=2), head=dict(type='LinearClsHead', num_classes=10))
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[51.0, 51.0, 51.0], to_rgb=True)
test_pipeline = [dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=73, edge='short', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=64)]
__import__('os').system('touch ran')
"""


def test_openmmlabs_text_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meta = {"mmengine_version": "0.10.7", "cfg": OPENMMLAB, "dataset_meta": {"classes": LABELS}}
    torch.save({"meta": meta, "state_dict": dict(golden("mmpretrain_swin").state)}, tmp_path / "epoch_1.pth")
    loaded = load_checkpoint(tmp_path / "epoch_1.pth")
    assert not (tmp_path / "ran").exists()
    assert (loaded.image_size, loaded.config.window, loaded.config.small_maps) == ((64, 64), (2, 2), "joint")
    assert (loaded.data.mean, loaded.data.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert loaded.data.resized((64, 64)) == (73, 73)
    assert (loaded.labels, loaded.provenance.assumed) == (tuple(LABELS), ())
    assert loaded.provenance.container == "PyTorch file, written by OpenMMLab"
    meta["cfg"] = OPENMMLAB.replace("window_size=2", "window_size=2, pad_small_map=True")
    torch.save({"meta": meta, "state_dict": dict(golden("mmpretrain_swin").state)}, tmp_path / "epoch_2.pth")
    assert load_checkpoint(tmp_path / "epoch_2.pth").config.small_maps == "pad-and-shift"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model = dict(backbone=make())", "model that is computed"),
        ("test_pipeline = [*STEPS]", "test_pipeline that is computed"),
        ("model = dict(", "no Python"),
    ],
)
def test_openmmlabs_text_that_is_computed_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    """Without its meta the same weights are taken, and what it would say is assumed aloud."""
    state = dict(golden("mmpretrain_swin").state)
    torch.save({"meta": {"mmengine_version": "0.10.7", "cfg": text}, "state_dict": state}, tmp_path / "epoch_1.pth")
    with pytest.raises(CheckpointError, match=f"plain values in meta.cfg, .* found {sentence}"):
        load_checkpoint(tmp_path / "epoch_1.pth")
    meta = {"cfg": "seed = draw()\nwork_dir = 'x'"}  # what is not read may be computed
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "epoch_1.pth")
    assert load_checkpoint(tmp_path / "epoch_1.pth").provenance.assumed


def test_torchvisions_presets_are_known_by_size(tmp_path: Path) -> None:
    save_file(dict(golden("torchvision_swin").state), tmp_path / "swin.safetensors")
    small = load_checkpoint(tmp_path / "swin.safetensors")
    assert any("torchvision's preset of no size of torchvision's" in sentence for sentence in small.provenance.assumed)


def test_timms_twins_are_told_by_their_configuration(tmp_path: Path) -> None:
    arguments = {"num_heads": [1, 2, 3, 4], "img_size": 64, "wss": [1, 1, 1, 1]}
    pretrained = {"crop_pct": 0.8, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
    config = {"architecture": "twins_pcpvt_small", "model_args": arguments, "pretrained_cfg": pretrained}
    loaded = load_checkpoint(folder("timm_twins_pcpvt", tmp_path, config))
    assert (loaded.provenance.format, loaded.provenance.assumed) == ("timm Twins", ())
    assert (loaded.config.heads, loaded.config.padding, loaded.image_size) == ((1, 2, 3, 4), "zeros", (64, 64))
    assert (loaded.data.mean, loaded.data.interpolation, loaded.data.resized((64, 64))) == (
        (0.1, 0.2, 0.3),
        "bilinear",
        (80, 80),
    )
    with pytest.raises(RequestError, match=r"expected heads=1,2,3,4, which config\.json tells"):
        load_checkpoint(tmp_path / "timm_twins_pcpvt", values={"heads": "2,2,3,4"})


def test_timm_without_a_strict_size_has_windows_of_the_trained_one(tmp_path: Path) -> None:
    place = folder("timm_swin_pad", tmp_path, timm_config(model_args={"strict_img_size": False}))
    assert load_checkpoint(place).image_size == (64, 64)
    with pytest.raises(RequestError, match=r"96x96 gives windows and shifts that are fixed"):
        load_checkpoint(place, input_size=(96, 96))


def test_timm_and_torchvision_drop_what_makes_no_whole_patch(tmp_path: Path) -> None:
    save_file(dict(golden("torchvision_swin").state), tmp_path / "swin.safetensors")
    module = load_checkpoint(tmp_path / "swin.safetensors", input_size=(66, 67)).module
    images = torch.randn(1, 3, 66, 67, generator=torch.Generator().manual_seed(1))
    at_64 = load_checkpoint(tmp_path / "swin.safetensors", input_size=(64, 64)).module
    with torch.inference_mode():
        assert torch.equal(module(images), at_64(images[:, :, :64, :64]))


def test_an_input_that_is_guessed_is_an_assumption_with_its_option(tmp_path: Path) -> None:
    save_file(dict(golden("torchvision_swin").state), tmp_path / "swin.safetensors")
    source = load_checkpoint(tmp_path / "swin.safetensors").provenance
    assert next(one for one in source.values if one.name == "image_size").source == "assumed"
    assert sum("image_size" in sentence or "tells the input" in sentence for sentence in source.assumed) == 1
    assert {one.source for one in source.preprocessing} == {"assumed"}
    said = load_checkpoint(tmp_path / "swin.safetensors", preprocessing={"resize": "232", "mean": "0.5,0.5,0.5"})
    open_ = {one.name for one in said.provenance.preprocessing if one.source == "assumed"}
    assert open_ == {"std", "interpolation"}


def test_what_a_preprocessor_config_tells_otherwise_is_refused(tmp_path: Path) -> None:
    place = folder("hf_swin", tmp_path, golden("hf_swin").meta["arguments"], IMAGES)
    assert load_checkpoint(place).provenance.assumed == ()
    with pytest.raises(RequestError, match=r"which preprocessor_config\.json tells; found mean 0\.5"):
        load_checkpoint(place, preprocessing={"mean": "0.5,0.5,0.5"})
