"""Configurations that say something else than the tensors or each other: refused by the field, never used in part."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.core.model import Model
from tests.exporter.checkpoint.foreign import golden, write, write_folder

from .test_told import LABELS, folder, timm_config, transformers

TIMM: dict[str, tuple[dict[str, Any], str]] = {
    "another library's model": ({"architecture": "resnet50"}, r"architecture 'resnet50' in config\.json, where swin_"),
    "the second version": ({"architecture": "swinv2_tiny_window8_256"}, "architecture 'swinv2_tiny"),
    "classes": ({"num_classes": 7}, "num_classes 7 .* where the tensors have 10"),
    "pooling": ({"global_pool": "max"}, "global_pool 'max'"),
    "arguments of no object": ({"model_args": "swin"}, "model_args 'swin'"),
    "preprocessing of no object": ({"pretrained_cfg": "swin"}, "pretrained_cfg 'swin'"),
}
ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "depths": ({"depths": [2, 2, 6, 2]}, r"missing layers\.2\.blocks\.2"),
    "width": ({"embed_dim": 24}, r"misshapen head\.weight"),
    "heads": ({"num_heads": [2, 2, 4, 8]}, "misshapen .*relative_position_bias_table"),
    "no biases": ({"qkv_bias": False}, "qkv_bias False"),
    "an input that is no number": ({"img_size": "64"}, "img_size '64'"),
    "half an input": ({"img_size": 64.5}, "img_size 64.5"),
}


@pytest.mark.parametrize("name", TIMM)
def test_timms_configuration_of_another_model_is_refused(name: str, tmp_path: Path) -> None:
    changes, sentence = TIMM[name]
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder("timm_swin_pad", tmp_path, {**timm_config(), **changes}))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_timms_arguments_of_another_model_are_refused(name: str, tmp_path: Path) -> None:
    arguments, sentence = ARGUMENTS[name]
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder("timm_swin_pad", tmp_path, timm_config(model_args=arguments)))


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_a_crop_is_a_share_of_the_picture(share: float, tmp_path: Path) -> None:
    place = folder("timm_swin_pad", tmp_path, timm_config(pretrained_cfg={"crop_pct": share}))
    assert load_checkpoint(place).data.scale == 1 / share
    (place / "config.json").write_text(json.dumps(timm_config(pretrained_cfg={"crop_pct": share + 0.2})))
    with pytest.raises(CheckpointError, match="crop_pct 1"):
        load_checkpoint(place)


def test_timms_configuration_up_to_0_6_is_flat(tmp_path: Path) -> None:
    config = timm_config(pretrained_cfg={"crop_pct": 0.8})
    pretrained, arguments = config.pop("pretrained_cfg"), config.pop("model_args")
    flat = {**config, **pretrained, "labels": LABELS, "model_args": arguments}
    loaded = load_checkpoint(folder("timm_swin_pad", tmp_path, flat))
    assert (loaded.labels, loaded.data.scale) == (tuple(LABELS), 1 / 0.8)
    assert loaded.provenance.assumed == ()


def test_what_timm_leaves_open_is_assumed_aloud(tmp_path: Path) -> None:
    config = timm_config(pretrained_cfg={"input_size": [3, 96, 96]}) | {"flavour": 1}
    del config["pretrained_cfg"]["crop_pct"]
    loaded = load_checkpoint(folder("timm_swin_pad", tmp_path, config))
    assumed = "; ".join(loaded.provenance.assumed)
    assert (loaded.image_size, loaded.data.scale) == ((64, 64), 1 / 0.875)  # timm's DEFAULT_CROP_PCT
    assert "also has flavour" in assumed
    assert "input_size [3, 96, 96] and the model's own img_size" in assumed
    bare = load_checkpoint(write(golden("timm_swin"), tmp_path))
    assert any(one.startswith("no config.json") for one in bare.provenance.assumed)


def test_a_processor_beside_timms_weights_tells_the_preprocessing(tmp_path: Path) -> None:
    """As transformers' TimmWrapper saves them: preprocessor_config.json has the pretrained_cfg too, or alone."""
    config = {**timm_config(), "label_names": [f"LABEL_{number}" for number in range(10)]}
    pretrained = {**config.pop("pretrained_cfg"), "crop_pct": 0.8}
    place = folder("timm_swin_pad", tmp_path, config, {"pretrained_cfg": pretrained, "architecture": "swin_tiny"})
    loaded = load_checkpoint(place)
    assert (loaded.data.scale, loaded.labels) == (1 / 0.8, ())
    (place / "config.json").write_text(json.dumps(timm_config()))
    with pytest.raises(CheckpointError, match=r"crop_pct 0\.8 in preprocessor_config\.json, where 0\.9, as in"):
        load_checkpoint(place)


TRANSFORMERS: dict[str, tuple[dict[str, Any], str]] = {
    "no biases": ({"qkv_bias": False}, "qkv_bias False"),
    "quantized": ({"quantization_config": {"load_in_8bit": True}}, "quantization_config"),
    "below nothing": ({"layer_norm_eps": -1.0}, "layer_norm_eps -1.0"),
    "names in a list": ({"id2label": LABELS}, "id2label"),
    "names of no numbers": ({"id2label": {"cat": "0"}}, r"id2label \{'cat'"),
    "names with a gap": ({"id2label": {"0": "cat", "2": "dog"}}, r"id2label \[0, 2\]"),
    "classes": ({"id2label": None, "num_labels": 3}, "num_labels 3"),
    "a window that is no number": ({"window_size": True}, "window_size True"),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_configuration_of_another_model_is_refused(name: str, tmp_path: Path) -> None:
    changes, sentence = TRANSFORMERS[name]
    with pytest.raises(CheckpointError, match=sentence):
        transformers("hf_swin", tmp_path, **changes)


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    place = write_folder(golden("hf_swin"), tmp_path)
    text = (place / "config.json").read_text()
    (place / "config.json").write_text(text.replace("{", '{"window_size": 7, ', 1))
    with pytest.raises(CheckpointError, match="'window_size' twice"):
        load_checkpoint(place)


def test_class_names_that_stand_twice_have_their_number(tmp_path: Path) -> None:
    names = [*LABELS[:8], "crane", "crane"]
    loaded = transformers("hf_swin", tmp_path, id2label={str(number): name for number, name in enumerate(names)})
    assert loaded.labels == (*LABELS[:8], "crane (8)", "crane (9)")
    assert any("have their number behind them: crane" in one for one in loaded.provenance.assumed)
    assert transformers_names(LABELS, tmp_path).labels == tuple(LABELS)


def transformers_names(names: list[str], tmp_path: Path) -> Model:
    (tmp_path / "again").mkdir()
    return transformers(
        "hf_swin", tmp_path / "again", id2label={str(number): name for number, name in enumerate(names)}
    )


def openmmlab(tmp_path: Path, **changes: Any) -> Model:
    drawn = golden("mmpretrain_swin")
    model = {**drawn.meta["arguments"], **changes.pop("model", {})}
    model["backbone"] = {**model["backbone"], **changes.pop("backbone", {})}
    text = "\n".join(f"{name} = {value!r}" for name, value in {"model": model, **changes}.items())
    torch.save(
        {"meta": {"mmengine_version": "0.10.7", "cfg": text}, "state_dict": dict(drawn.state)}, tmp_path / "e.pth"
    )
    return load_checkpoint(tmp_path / "e.pth")


OPENMMLAB: dict[str, tuple[dict[str, Any], str]] = {
    "another neck": ({"model": {"neck": {"type": "GeneralizedMeanPooling"}}}, "neck"),
    "no neck": ({"model": {"neck": None}}, "neck None"),
    "another head": ({"model": {"head": {"type": "LinearClsHead", "num_classes": 7}}}, "num_classes 7"),
    "the second version": ({"backbone": {"type": "SwinTransformerV2"}}, "backbone 'SwinTransformerV2'"),
    "blue, green, red": ({"data_preprocessor": {"mean": [1, 2, 3], "to_rgb": False}}, "to_rgb False"),
    "colours that nobody turns": ({"data_preprocessor": {"mean": [1, 2, 3]}}, "to_rgb=True"),
}


@pytest.mark.parametrize("name", OPENMMLAB)
def test_openmmlabs_configuration_of_another_model_is_refused(name: str, tmp_path: Path) -> None:
    changes, sentence = OPENMMLAB[name]
    with pytest.raises(CheckpointError, match=sentence):
        openmmlab(tmp_path, **changes)


@pytest.mark.parametrize("place", ["top", "model"])
def test_openmmlabs_colours_count_without_a_pipeline(place: str, tmp_path: Path) -> None:
    colours = {"mean": [51.0, 102.0, 127.5], "std": [51.0, 51.0, 51.0], "to_rgb": True}
    own = {"data_preprocessor": colours}
    loaded = openmmlab(tmp_path, **(own if place == "top" else {"model": own}))
    assert (loaded.data.mean, loaded.data.std) == ((0.2, 0.4, 0.5), (0.2, 0.2, 0.2))
    assert any(one.startswith("no test pipeline tells") for one in loaded.provenance.assumed)


@pytest.mark.parametrize("place", ["test_dataloader", "data"])
def test_openmmlabs_pipeline_stands_in_a_loader_too(place: str, tmp_path: Path) -> None:
    steps = [{"type": "ResizeEdge", "scale": 80, "backend": "pillow"}, {"type": "CenterCrop", "crop_size": 64}]
    inside = {"dataset": {"pipeline": steps}} if place == "test_dataloader" else {"test": {"pipeline": steps}}
    assert openmmlab(tmp_path, **{place: inside}).data.resized((64, 64)) == (80, 80)


@pytest.mark.parametrize("name", ["hf_swin", "torchvision_swin", "timm_swin", "mmpretrain_swin"])
def test_a_classifier_that_lost_its_last_norm_is_refused(name: str, tmp_path: Path) -> None:
    """A backbone may have none; a classifier without it is another function."""
    drawn = golden(name)
    norm = {"hf_swin": "swin.layernorm.", "mmpretrain_swin": "backbone.norm3."}.get(name, "norm.")
    path = write(drawn, tmp_path)
    if path.is_dir():
        kept = {key: value for key, value in load_file(path / "model.safetensors").items() if not key.startswith(norm)}
        assert len(kept) == len(drawn.state) - 2
        save_file(kept, path / "model.safetensors")
    else:
        kept = {key: value for key, value in drawn.state.items() if not key.startswith(norm)}
        assert len(kept) == len(drawn.state) - 2
        torch.save(kept, path)
    with pytest.raises(CheckpointError, match=r"missing norm\.bias"):
        load_checkpoint(path)
