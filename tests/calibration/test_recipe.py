"""A recipe reads back as it was written, and refuses what no library can do."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export import backends
from slide_export.calibration.recipe import QuantizationRecipe, default, dump, load, matches, overflows, parse
from slide_export.errors import RequestError

FIELDS = "library: onnxruntime\nactivations: asymmetric\nmin_sqnr_db: 20\nmin_top1: 0.9\n"


@pytest.mark.parametrize("target", backends.names())
def test_every_quantized_precision_has_a_recipe(target: str) -> None:
    precisions = set(backends.load(target).PRECISIONS) - {"fp32", "fp16"}
    assert precisions
    assert all(default(target, precision).calibrated == (precision == "int8") for precision in precisions)


def test_a_recipe_reads_back_as_it_was_written() -> None:
    recipe = replace(
        default("openvino", "int8"), keep_fp32=("head", "layers.0.*"), smooth_quant=0.5, reduce_range="off"
    )
    assert parse(dump(recipe, "title"), "written") == recipe
    assert "# PyTorch modules that stay in float" in dump(recipe, "title")


def test_a_pattern_names_a_module_or_one_around_it() -> None:
    assert matches("layers.0.blocks.1.attn.qkv", "layers.0")
    assert matches("layers.0.blocks.1.attn.qkv", "layers.*.attn")
    assert not matches("layers.0.blocks.1.attn.qkv", "layers.1")
    assert not matches("layers.10.blocks.0", "layers.1")


def test_what_is_quantized_follows_kind_and_name() -> None:
    recipe = parse(FIELDS + "keep_fp32: [layers.0]\n", "text")
    assert recipe.quantizes("layers.1.mlp.fc1", "linear")
    assert not recipe.quantizes("layers.0.mlp.fc1", "linear")
    assert not recipe.quantizes("layers.1.attn.keys.0", "depthwise")


REFUSED = [
    ("library: [", "expected YAML"),
    ("just words", "expected a YAML mapping"),
    (FIELDS + "keep_fp23: []\n", "did you mean 'keep_fp32'"),
    ("library: onnxruntime\n", "missing 3 required"),
    (FIELDS + "ranges: guess\n", "ranges in text to be one of minmax, percentile, entropy"),
    (FIELDS + "keep_fp32: head\n", "a list of names"),
    (FIELDS + "per_channel: 1\n", "true or false"),
    (FIELDS + "percentile: high\n", "a number"),
    (FIELDS + "percentile: 3\n", "a percentile over 50"),
    (FIELDS + "quantize: [linear, softmax]\n", "found 'softmax'"),
    (FIELDS + "smooth_quant: 0.5\n", "library nncf alone"),
    (FIELDS + "weight_bits: 4\n", "unless they are palettized"),
    (FIELDS + "accept: [random-images]\n", "found 'random-images'"),
    (FIELDS.replace("onnxruntime", "coremltools"), "macOS"),
    (FIELDS.replace("onnxruntime", "coremltools") + "tables: half\n", "tables: float with library coremltools"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_an_unsound_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(text, "text")


def test_a_recipe_of_another_precision_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(FIELDS)
    assert isinstance(load(tmp_path / "r.yaml", "int8"), QuantizationRecipe)
    with pytest.raises(RequestError, match="expected a recipe of w8"):
        load(tmp_path / "r.yaml", "w8")
    with pytest.raises(RequestError, match="cannot be read"):
        load(tmp_path / "absent.yaml", "int8")


@pytest.mark.parametrize(("vnni", "expected"), [(True, "off"), (False, "on")])
def test_auto_reduces_the_range_without_vnni(vnni: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"architecture": "x86_64", "avx512_vnni": False, "avx_vnni": vnni}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: said)
    assert overflows() is not vnni
    assert parse(FIELDS, "text").resolved().reduce_range == expected
    assert default("onnx", "w8").resolved().reduce_range == "off"
