"""Sentences that once sent people the wrong way: each names what the file is, and what to do."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from tests.exporter.checkpoint.foreign import golden, write

State = dict[str, Tensor]


def save(content: Any, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def tree(**fields: Any) -> dict[str, Any]:
    swin = {"EMBED_DIM": 16, "DEPTHS": [1, 1], "NUM_HEADS": [1, 2], "WINDOW_SIZE": 4}
    kind = fields.pop("TYPE", "swin")
    model = {"TYPE": kind, "NUM_CLASSES": 10, "SWIN": {**swin, **fields}}
    return {"MODEL": model, "DATA": {"IMG_SIZE": 64}, "TEST": {"CROP": True}}


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "scale of the queries": ({"QK_SCALE": 0.9}, r"MODEL\.SWIN\.QK_SCALE 0\.9"),
    "another model": ({"TYPE": "swinv2"}, r"MODEL\.TYPE 'swinv2'"),
    "another activation": ({"TYPE": "swin_relu"}, r"MODEL\.TYPE 'swin_relu'"),
    "patches": ({"PATCH_SIZE": 8}, r"MODEL\.SWIN\.PATCH_SIZE 8"),
    "positions": ({"APE": True}, r"MODEL\.SWIN\.APE True"),
    "no norm of patches": ({"PATCH_NORM": False}, r"PATCH_NORM False"),
    "no biases": ({"QKV_BIAS": False}, r"QKV_BIAS False"),
    "gray pictures": ({"IN_CHANS": 1}, r"IN_CHANS 1"),
    "nobody's field": ({"FOO": 1}, r"MODEL\.SWIN\.FOO 1, which is not known here"),
    "a width that is none": ({"EMBED_DIM": True}, r"MODEL\.SWIN\.EMBED_DIM True, where a whole number is expected"),
    "depths that are none": ({"DEPTHS": [1, 1.5]}, r"MODEL\.SWIN\.DEPTHS 1\.5, where a whole number is expected"),
    "hidden width that is none": ({"MLP_RATIO": float("inf")}, r"MODEL\.SWIN\.MLP_RATIO inf, where a finite number"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_believed_whole_or_refused(name: str, state: State, tmp_path: Path) -> None:
    fields, sentence = CONFIGURATIONS[name]
    path = save({"model": state, "config": tree(**fields)}, tmp_path)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(path)
    plain = load_checkpoint(save({"model": state, "config": tree(QK_SCALE=None, APE=False)}, tmp_path))
    assert plain.config.image_size == (64, 64)


@pytest.mark.parametrize(
    ("colours", "sentence"),
    [
        ({"MEAN": [123.675, 116.28, 103.53]}, "divide both by 255"),
        ({"STD": [0, 1, 1]}, "expected"),
        ({"STD": [2.0**-17, 1, 1]}, "those of colours in 0..1 are expected"),
        ({"STD": [1.01, 1, 1]}, "those of colours in 0..1 are expected"),
        ({"MEAN": [-0.01, 0.5, 0.5]}, "those of colours in 0..1 are expected"),
        ({"MEAN": [1.01, 0.5, 0.5]}, "those of colours in 0..1 are expected"),
        ({"STD": [-1, 1, 1]}, "expected"),
        ({"STD": [float("inf")] * 3}, "expected"),
        ({"MEAN": [float("nan")] * 3}, "expected"),
    ],
)
def test_colours_that_cannot_be(colours: dict[str, Any], sentence: str, state: State, tmp_path: Path) -> None:
    config = tree()
    config["DATA"] |= colours
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(save({"model": state, "config": config}, tmp_path))


@pytest.mark.parametrize(
    ("place", "name", "value", "sentence"),
    [
        ("MODEL", "FOO", 1, r"MODEL\.FOO 1, which is not known here"),
        ("DATA", "IMG_SIZE", float("inf"), r"DATA\.IMG_SIZE inf, where a whole number is expected"),
        ("DATA", "IMG_SIZE", [3, 64, 64], r"DATA\.IMG_SIZE \[3, 64, 64\], where one number or two are expected"),
        ("DATA", "IMG_SIZE", 0, r"DATA\.IMG_SIZE 0, where positive numbers are expected"),
        ("DATA", "INTERPOLATION", 3, r"DATA\.INTERPOLATION 3, where a text is expected"),
        ("TEST", "CROP", "no", r"TEST\.CROP 'no', where True or False is expected"),
    ],
)
def test_a_field_beside_the_widths_is_believed_or_refused_too(
    place: str, name: str, value: Any, sentence: str, state: State, tmp_path: Path
) -> None:
    config = tree()
    config[place][name] = value
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(save({"model": state, "config": config}, tmp_path))


def test_a_whole_number_may_be_written_as_a_float(state: State, tmp_path: Path) -> None:
    config = tree()
    config["DATA"]["IMG_SIZE"] = 64.0
    assert load_checkpoint(save({"model": state, "config": config}, tmp_path)).image_size == (64, 64)


def test_what_is_not_read_is_named(state: State, tmp_path: Path) -> None:
    config = tree()
    config["DATA"]["FOO"] = config["NORMALIZE"] = 1
    told = load_checkpoint(save({"model": state, "config": config}, tmp_path)).provenance
    sentence = "the checkpoint's own config also has NORMALIZE, DATA.FOO: taken for what changes no output"
    assert sentence in told.assumed
    beside = {"model": state, "epoch": 3, "optimizer": {}, "mean": [0.5] * 3, "data_config": {"std": 1}}
    notes = load_checkpoint(save(beside, tmp_path)).provenance.notes
    assert "not read, of names that are not known here: mean, data_config" in notes
    lacking = tree()
    del lacking["MODEL"]["NUM_CLASSES"]
    assumed = load_checkpoint(save({"model": state, "config": lacking}, tmp_path)).provenance.assumed
    assert "the checkpoint's own config tells no MODEL.NUM_CLASSES: it is not used" in assumed
    number = load_checkpoint(save({"model": state, "config": 5}, tmp_path)).provenance
    assert "not read, for it is no tree of names: config" in number.notes
    other = load_checkpoint(save({"model": state, "config": {"img_size": 64}}, tmp_path)).provenance
    assert any("has img_size and no MODEL: its form is not known" in sentence for sentence in other.assumed)
    pictures = {"DATA": {"IMG_SIZE": 64, "MEAN": [0.5] * 3, "STD": [0.5] * 3}, "TEST": {"CROP": False}}
    kept = load_checkpoint(save({"model": state, "config": pictures}, tmp_path))
    assert kept.data.mean == (0.5, 0.5, 0.5)
    assert not any("not used" in sentence for sentence in kept.provenance.assumed)


@pytest.mark.parametrize("name", ["\x1b[2J\n✓ equal", "k" * 100_000, 0, "layers.0.blocks." + "9" * 5000])
def test_a_name_that_no_module_has_is_refused_short_and_escaped(name: Any, state: State, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected tensors by the names of modules") as refused:
        load_checkpoint(save({**state, name: torch.zeros(16)}, tmp_path))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("text", ["a: &x [1]\nb: [*x, *x]", "a: 2001-99-99", "a: " + "9" * 5000, "[" * 3000])
def test_a_configuration_in_yaml_that_cannot_be_is_one_sentence(text: str, state: State, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a configuration in YAML under 'cfg'") as refused:
        load_checkpoint(save({"model": state, "cfg": text}, tmp_path))
    assert str(refused.value).isprintable()


KINDS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "int8": (lambda t: (t * 100).round().to(torch.int8), r"head\.weight is of type int8, as a quantized file has it"),
    "int64": (lambda t: t.long(), r"head\.weight is of type int64"),
    "bool": (lambda t: t > 0, r"head\.weight is of type bool: save it as float32"),
    "complex": (lambda t: t.to(torch.complex64), r"head\.weight is of type complex64"),
    "float8 of another kind": (lambda t: t.to(torch.float8_e4m3fnuz), r"head\.weight is of type float8_e4m3fnuz, as"),
    "quantized": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), r"head\.weight is quantized \(qint8\)"),
    "sparse by rows": (lambda t: t.to_sparse_csr(), r"head\.weight is a sparse tensor \(sparse_csr\)"),
    "nested": (lambda t: torch.nested.nested_tensor([t[0], t[1]]), r"head\.weight is a nested tensor: save its parts"),
    "sparse": (lambda t: t.to_sparse(), r"head\.weight is a sparse tensor \(sparse_coo\): save it dense"),
    "meta": (lambda t: t.to("meta"), r"head\.weight is a tensor without values"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's, of such tensors themselves
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_no_dense_floats_are_refused(kind: str, state: State, tmp_path: Path) -> None:
    change, sentence = KINDS[kind]
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(save({**state, "head.weight": change(state["head.weight"])}, tmp_path))


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_float8_becomes_float32_where_that_is_exact(
    kind: torch.dtype, ending: str, state: State, tmp_path: Path
) -> None:
    narrow = {**state, "head.weight": state["head.weight"].to(kind)}
    path = tmp_path / f"narrow{ending}"
    (save_file if ending == ".safetensors" else torch.save)(narrow, path)
    loaded = load_checkpoint(path)
    head = loaded.module.state_dict()["head.weight"]
    assert head.dtype == torch.float32
    assert torch.equal(head.to(kind).view(torch.uint8), narrow["head.weight"].view(torch.uint8))
    assert f"converted {kind} weights to float32" in loaded.provenance.notes


def test_a_number_beyond_float32_is_refused_by_name(state: State, tmp_path: Path) -> None:
    far = state["head.weight"].double()
    far[0, 0] = 1e300
    with pytest.raises(CheckpointError, match=r"head\.weight has 1e\+300 in float64, beyond 3\.4e\+38"):
        load_checkpoint(save({**state, "head.weight": far}, tmp_path))
    far[0, 0] = 3e38
    assert load_checkpoint(save({**state, "head.weight": far}, tmp_path)).config.num_classes == 10


def test_what_nobody_tells_is_assumed_aloud(state: State, tmp_path: Path) -> None:
    bare = {key: value for key, value in state.items() if not key.endswith(".attn_mask")}
    loaded = load_checkpoint(save(bare, tmp_path))
    assert loaded.image_size == (32, 32)
    assert any(
        sentence.startswith("assumed image_size=32x32, no file tells it") for sentence in loaded.provenance.assumed
    )
    assert any("preprocessing" in sentence for sentence in loaded.provenance.assumed)
    config = tree()
    (preprocessing,) = load_checkpoint(save({"model": bare, "config": config}, tmp_path)).provenance.assumed
    assert "mean=0.485,0.456,0.406 (--mean says another)" in preprocessing
    config["DATA"] |= {"MEAN": [0.5, 0.5, 0.5], "STD": [0.25, 0.25, 0.25], "INTERPOLATION": "bilinear"}
    config["TEST"] = {"CROP": False}
    told = load_checkpoint(save({"model": bare, "config": config}, tmp_path))
    assert told.provenance.assumed == ()
    assert told.image_size == (64, 64)
    unread = tree()
    unread["DATA"]["IMG_SIZE"] = None
    assumed = load_checkpoint(save({"model": bare, "config": unread}, tmp_path)).provenance.assumed
    assert "the checkpoint's own config tells no DATA.IMG_SIZE: it is not used" in assumed


def test_options_are_those_of_the_family(state: State, tmp_path: Path) -> None:
    path = save(state, tmp_path)
    kept = load_checkpoint(path, input_size=(96, 96), values={"window": "keep"})
    scaled = load_checkpoint(path, input_size=(96, 96), values={"window": "scale"})
    assert (kept.config.window, scaled.config.window) == ((4, 4), (12, 12))  # as many a side as at the assumed 32
    with pytest.raises(RequestError, match=r"expected values with an option of swin .*window.*found heads"):
        load_checkpoint(path, values={"heads": "1,2"})
    with pytest.raises(RequestError, match="keep or scale or floor"):
        load_checkpoint(path, values={"window": "big"})


def test_a_window_that_cannot_shrink_refuses_an_input_by_name(tmp_path: Path) -> None:
    path = write(golden("hf_swin_pad"), tmp_path)  # windows of 3
    with pytest.raises(RequestError, match="a map of 2x2 in stage 3, smaller than its window of 3x3"):
        load_checkpoint(path, input_size=(32, 32))


def test_biases_are_filled_where_a_model_has_none_and_not_where_one_is_lost(tmp_path: Path) -> None:
    drawn = golden("timm_swin")
    state = dict(drawn.state)
    lost = "layers.0.blocks.0.attn.qkv.bias"
    with pytest.raises(CheckpointError, match=rf"missing {re.escape(lost)}"):
        load_checkpoint(save({key: value for key, value in state.items() if key != lost}, tmp_path))
    none = {key: value for key, value in state.items() if not key.endswith("qkv.bias")}
    assert not load_checkpoint(save(none, tmp_path)).module.state_dict()[lost].any()


def test_a_trained_size_that_the_library_cannot_run_is_refused(tmp_path: Path) -> None:
    place = write(golden("hf_swin_pad"), tmp_path)  # windows of 3
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "image_size": 32}))
    with pytest.raises(CheckpointError, match=r"the 32x32 that it was trained with gives a map of 2x2 in stage 3"):
        load_checkpoint(place)
    assert load_checkpoint(place, input_size=(64, 64)).image_size == (64, 64)
