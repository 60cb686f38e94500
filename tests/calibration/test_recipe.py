"""A recipe reads back as it was written, and refuses what no library can do."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.backends import registry as backends
from slide_export.calibration.recipe import (
    QuantizationRecipe,
    default,
    dump,
    load,
    matches,
    overflows,
    parse,
    refuse_other_library,
)
from slide_export.core.errors import RequestError
from slide_export.core.precision import precision_named

FIELDS = "library: onnxruntime\nactivations: asymmetric\nmin_sqnr_db: 20\nmin_top1: 0.9\n"


@pytest.mark.parametrize("target", backends.names())
def test_every_quantized_precision_has_a_recipe(target: str) -> None:
    precisions = [name for name in backends.load(target).PRECISIONS if precision_named(name).quantized]
    # ncnn: its tables and quantizer are in no wheel; coreai: its own quantizer was not tried
    assert precisions or target in ("ncnn", "coreai")
    assert all(default(target, name).precision == precision_named(name) for name in precisions)


def test_a_recipe_reads_back_as_it_was_written() -> None:
    recipe = replace(
        default("openvino", "int8"), keep_fp32=("head", "layers.0.*"), smooth_quant=0.5, reduce_range="off"
    )
    written = dump(recipe, "digits", "openvino")
    assert parse(written, "written") == recipe
    assert "# PyTorch modules that stay in float" in written
    assert "--target openvino --precision int8 --quantization-recipe FILE --images DIRECTORY" in written


@pytest.mark.parametrize(("target", "precision"), [("onnx", "int8"), ("onnx", "w8"), ("coreml", "w8")])
def test_a_written_recipe_says_only_what_its_library_reads(target: str, precision: str) -> None:
    recipe = default(target, precision).resolved()
    written = dump(recipe, "digits", target)
    assert {line.partition(":")[0] for line in written.splitlines() if line and line[0] not in "#-"} == recipe.used
    assert replace(parse(written, "written"), cpu_overflows=recipe.cpu_overflows) == recipe


def test_a_pattern_names_a_module_or_one_around_it() -> None:
    assert matches("layers.0.blocks.1.attn.qkv", "layers.0")
    assert matches("layers.0.blocks.1.attn.qkv", "layers.*.attn")
    assert not matches("layers.0.blocks.1.attn.qkv", "layers.1")
    assert not matches("layers.10.blocks.0", "layers.1")
    assert matches("head", "head")
    assert matches("head.fc", "head")


def test_what_is_quantized_follows_kind_and_name() -> None:
    recipe = parse(FIELDS + "keep_fp32: [layers.0]\n", "text")
    assert recipe.quantizes("layers.1.mlp.fc1", "linear")
    assert not recipe.quantizes("layers.0.mlp.fc1", "linear")
    assert not recipe.quantizes("layers.1.attn.keys.0", "depthwise")


WEIGHTS = FIELDS.replace("onnxruntime", "nncf").replace("asymmetric", "float")
REFUSED = [
    ("library: [", "expected YAML"),
    ("just words", "expected a YAML mapping"),
    ("min_top1: !!int x", "found the tag"),
    ("a: 2001-99-99", "expected YAML in text, found what cannot be read: month must be"),
    ("a: 0b_", "expected YAML"),
    ("min_top1: " + "9" * 5000, "expected YAML"),
    ("[" * 3000, "more than 8 levels"),
    ("a: &a [1]\nb: *a", "found an anchor or an alias"),
    ("#" * 200_000, "at most 131072 letters"),
    (FIELDS.replace("20", "9" * 400), "a finite number, found a whole number of"),
    (FIELDS + 'quantize: ["\\e[2J"]\n', r"found .\\x1b\[2J"),
    (FIELDS + "keep_fp23: []\n", "did you mean 'keep_fp32'"),
    ("library: onnxruntime\n", "missing 3 required"),
    (FIELDS + "ranges: guess\n", "ranges in text to be one of minmax, percentile, entropy"),
    (FIELDS + "keep_fp32: head\n", "a list of names"),
    (FIELDS + "per_channel: 1\n", "true or false"),
    (FIELDS + "percentile: high\n", "a finite number, found .high"),
    (FIELDS + "ranges: percentile\npercentile: 3\n", "a percentile over 50"),
    (FIELDS + "quantize: [linear, softmax]\n", "found 'softmax'"),
    (FIELDS + "smooth_quant: 0.5\n", "expected no smooth_quant in text, which onnxruntime does not read"),
    (FIELDS + "bias_correction: true\n", "expected no bias_correction"),
    (FIELDS + "percentile: 99\n", "expected no percentile"),  # without `ranges: percentile`
    (WEIGHTS + "reduce_range: on\n", "expected no reduce_range in text, which nncf does not read"),
    (WEIGHTS + "per_channel: false\n", "expected no per_channel"),
    (WEIGHTS + "quantize_bias: false\n", "expected no quantize_bias"),
    (WEIGHTS + "accept: [duplicate-images]\n", "expected no accept"),
    (WEIGHTS.replace("nncf", "coremltools") + "weights: palettized\nper_channel: false\n", "expected no per_channel"),
    (WEIGHTS.replace("nncf", "onnxruntime"), "nncf or coremltools or ai_edge_quantizer where activations are float"),
    (FIELDS + "library: nncf\n", "expected every field once in text, found 'library' 2 times"),
    (FIELDS + "reduce_range: [on]\n", "one of auto, on, off; found .True."),
    (FIELDS + "reduce_range: {on: 1}\n", "one of auto, on, off"),
    (FIELDS + "reduce_range: 1\n", "one of auto, on, off; found 1"),
    (FIELDS.replace("20", ".nan"), "a finite number, found nan"),
    (FIELDS.replace("20", "-1000"), "a min_sqnr_db of 0 or more, below which int8 holds no model"),
    (FIELDS.replace("20", ".inf"), "a finite number, found inf"),
    (FIELDS + "cpu_overflows: true\n", "a field of a quantization recipe"),
    (WEIGHTS.replace("nncf", "coremltools") + "weight_bits: 4\n", "unless they are palettized"),
    (FIELDS + "accept: [random-images]\n", "found 'random-images'"),
    (FIELDS.replace("onnxruntime", "coremltools"), "macOS"),
    (
        FIELDS.replace("onnxruntime", "coremltools").replace("asymmetric", "float") + "tables: half\n",
        "expected no tables",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_an_unsound_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(text, "text")


NNCF = FIELDS.replace("onnxruntime", "nncf")
PALETTE = WEIGHTS.replace("nncf", "coremltools") + "weights: palettized\n"
PERCENTILE = FIELDS + "ranges: percentile\n"
EDGES = [
    (PERCENTILE, "percentile", (50.01, 100), (50, 100.01), "a percentile over 50 and at most 100"),
    (NNCF, "smooth_quant", (0, 1, "null"), (-0.01, 1.01), "smooth_quant within 0 and 1"),
    (FIELDS.replace("min_top1: 0.9\n", ""), "min_top1", (0, 1), (-0.01, 1.01), "min_top1 within 0 and 1"),
    (FIELDS.replace("min_top1: 0.9\n", ""), "min_top1", (), ("null",), "a finite number, found None"),
    (FIELDS.replace("min_sqnr_db: 20\n", ""), "min_sqnr_db", (0, 9.9e299), (-0.01,), "a min_sqnr_db of 0 or more"),
    (FIELDS.replace("min_sqnr_db: 20\n", ""), "min_sqnr_db", (), ("1.0e+300", "-1.0e+300"), "a finite number"),
    (PALETTE, "weight_bits", (8, 6, 4), (7, 5, 2), "weight_bits in text to be one of 8, 6, 4"),
    (NNCF, "ranges", ("minmax", "percentile"), ("entropy",), "ranges minmax or percentile with library nncf"),
    (FIELDS, "ranges", ("minmax", "percentile", "entropy"), (), ""),
]


@pytest.mark.parametrize(("rest", "field", "taken", "refused", "message"), EDGES)
def test_a_field_is_taken_up_to_its_bounds(
    rest: str, field: str, taken: tuple[object, ...], refused: tuple[object, ...], message: str
) -> None:
    for value in taken:
        found = getattr(parse(f"{rest}{field}: {value}\n", "text"), field)
        assert found == (None if value == "null" else value)
    for value in refused:
        with pytest.raises(RequestError, match=message):
            parse(f"{rest}{field}: {value}\n", "text")


def test_what_a_file_leaves_out_is_said_nowhere_else() -> None:
    expected = QuantizationRecipe(
        "onnxruntime", "asymmetric", 20, 0.9, "linear", 8, True, "minmax", 99.99, "auto", True, None, False,
        ("linear", "convolution"), "integer", "float", (), (), (), cpu_overflows=False,
    )  # fmt: skip
    assert parse(FIELDS, "text") == expected


def test_a_precision_without_a_recipe_is_named_beside_those_that_have_one() -> None:
    with pytest.raises(RequestError, match="recipe of fp16 does not come with onnx, it has recipes of int8"):
        default("onnx", "fp16")
    with pytest.raises(RequestError, match="of int8 does not come with ncnn, it has no recipes"):
        default("ncnn", "int8")


def test_a_recipe_of_another_precision_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(FIELDS)
    assert isinstance(load(tmp_path / "r.yaml", "int8"), QuantizationRecipe)
    with pytest.raises(RequestError, match="expected a recipe of w8"):
        load(tmp_path / "r.yaml", "w8")
    with pytest.raises(RequestError, match="cannot be read"):
        load(tmp_path / "absent.yaml", "int8")


@pytest.mark.parametrize(
    ("target", "precision", "library", "message"),
    [
        ("onnx", "int8", "nncf", ""),
        ("openvino", "int8", "onnxruntime", ""),
        ("onnx", "w8", "coremltools", "expected library nncf to quantize in w8 for onnx, found coremltools"),
        ("coreml", "w8", "nncf", "expected library coremltools to quantize in w8 for coreml, found nncf"),
    ],
)
def test_a_library_that_the_target_does_not_have_is_refused(
    target: str, precision: str, library: str, message: str
) -> None:
    recipe = replace(default(target, precision), library=library)
    in_graph = backends.load(target).PRECISIONS[precision]
    with pytest.raises(RequestError, match=message) if message else contextlib.nullcontext():
        refuse_other_library(recipe, target, in_graph=in_graph)


def test_a_target_without_a_recipe_takes_any_library_of_its_own_form() -> None:
    recipe = default("onnx", "int8")
    with pytest.raises(
        RequestError, match="expected library torchao or ai_edge_quantizer to quantize in int8 for core"
    ):
        refuse_other_library(recipe, "coreml", in_graph=False)
    refuse_other_library(replace(recipe, library="torchao"), "coreml", in_graph=False)


@pytest.mark.parametrize("vnni", [True, False])
def test_auto_reduces_the_range_without_vnni(vnni: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"architecture": "x86_64", "avx512_vnni": False, "avx_vnni": vnni}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: said)
    assert overflows() is not vnni
    recipe = parse(FIELDS, "text").resolved()
    assert recipe.reduced is not vnni
    assert recipe.reduce_range == "auto"  # another machine asks its own CPU
    assert not default("onnx", "w8").resolved().reduced


@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize(("said", "reduced"), [("on", True), ("off", False)])
def test_what_is_said_of_the_range_holds_on_any_cpu(said: str, reduced: bool, needed: bool) -> None:
    recipe = parse(FIELDS + f"reduce_range: {said}\n", "text")
    assert replace(recipe, cpu_overflows=needed).reduced is reduced


def test_activations_decide_the_precision_and_whether_images_are_needed() -> None:
    base = QuantizationRecipe("onnxruntime", "asymmetric", 20, 0.9)
    kinds = {name: replace(base, activations=name) for name in ("asymmetric", "symmetric", "dynamic", "float")}
    assert {name: str(one.precision) for name, one in kinds.items()} == {
        "asymmetric": "int8",
        "symmetric": "int8",
        "dynamic": "int8-dynamic",
        "float": "w8",
    }
    assert [name for name, one in kinds.items() if one.calibrated] == ["asymmetric", "symmetric"]
    assert [name for name, one in kinds.items() if one.dynamic] == ["dynamic"]
    assert [name for name, one in kinds.items() if replace(one, cpu_overflows=True).reduced] == [*kinds][:3]


@pytest.mark.parametrize(("module", "quantized"), [("layer1.cbam.SpatialGate.conv", False), ("layer1.conv1", True)])
def test_what_a_target_computes_wrongly_stays_in_float(module: str, quantized: bool) -> None:
    recipe = replace(default("openvino", "int8"), unfit=("*.SpatialGate",))
    assert recipe.quantizes(module, "convolution") is quantized


@pytest.mark.parametrize("part", ["head_sum", "sums.3", "sum_biases", "spreads.0", "spread_biases"])
def test_a_sum_over_the_taps_of_one_head_is_a_slide_convolution(part: str) -> None:
    recipe = default("onnx", "int8")
    assert not recipe.quantizes(f"layers.0.attn.{part}", "convolution")
    assert replace(recipe, quantize=("depthwise",)).quantizes(f"layers.0.attn.{part}", "convolution")
    assert recipe.quantizes("layers.0.attn.proj", "convolution")
