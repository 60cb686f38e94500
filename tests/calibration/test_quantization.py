"""From a checkpoint and images to a quantized bundle, and every way that it may not come about."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from slide_export.bundle.store import Bundle
from slide_export.calibration import quantizers
from slide_export.calibration.audit import MIN_CALIBRATION_IMAGES
from slide_export.calibration.images import ImageSet, bundled
from slide_export.calibration.quantization import NumericFormat, calibration_images, in_precision, with_overlap
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.calibration.report import CalibrationReport
from slide_export.core.errors import CalibrationError, ParityError, PrecisionError, RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import BF16, FP16, FP32, W16, Precision
from slide_export.core.proof import Acceptance
from slide_export.core.request import ExportRequest
from slide_export.graph import dtypes
from slide_export.graph.export import specs
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline
from slide_export.workflows.resolve import resolve

PHOTOGRAPHS = bundled().root


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("out")
    return pipeline.export(ExportRequest(checkpoint, precision="int8", images=PHOTOGRAPHS, form="grouped", out=out))


def test_a_quantized_bundle_says_what_was_done(made: Bundle) -> None:
    calibration, stats = made.manifest.calibration, made.manifest.dtype_stats
    assert calibration is not None
    assert (calibration.source, calibration.images) == ("photos", 8)
    assert len(calibration.sha256) == 64
    assert [finding.name for finding in calibration.findings] == ["few-images", "calibrated-on-proof"]
    assert stats.marked == 29
    assert stats.computed["int8"] == 29
    assert "29 of 29 products with such weights compute in int8" in stats.sentence
    assert made.manifest.parity.accepted == Acceptance(4.0, min_sqnr_db=20, min_top1=0.95, least_db=0, sure_margin=2)


def test_the_written_recipe_gives_the_same_bundle(made: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    written = ExportRequest(
        checkpoint,
        precision="int8",
        images=PHOTOGRAPHS,
        form="grouped",
        out=tmp_path,
        quantization_recipe=made.path / "quantization.yaml",
    )
    again = pipeline.export(written)
    assert (again.path / "model.onnx").read_bytes() == (made.path / "model.onnx").read_bytes()


def test_a_quantized_bundle_is_verified_alone_and_against_its_checkpoint(made: Bundle, checkpoint: Path) -> None:
    assert verification.verify(made.path).passed
    assert verification.verify(made.path, checkpoint).passed


def outlier(checkpoint: Path, place: Path) -> Path:
    """Writes a checkpoint that computes the same, whose window attention has one query row a thousand times as large.

    The key's row is as much smaller: their product, which is never quantized, stays what it was.
    """
    content = torch.load(checkpoint)
    state = content["model"]
    for key in state:
        if key.startswith(("layers.2", "layers.3")) and ".attn.qkv." in key:
            width = len(state[key]) // 3
            state[key][0] *= 1000
            state[key][width] /= 1000
    torch.save(content, place / "outlier.pth")
    return place / "outlier.pth"


def test_outlier_weights_fail_with_one_scale_and_pass_with_one_a_channel(checkpoint: Path, tmp_path: Path) -> None:
    request = ExportRequest(
        outlier(checkpoint, tmp_path), precision="w8", form="grouped", images=PHOTOGRAPHS, out=tmp_path / "out"
    )
    text = "library: onnxruntime\nactivations: asymmetric\nmin_sqnr_db: 20\nmin_top1: 0\nper_channel: "
    for flag in ("true", "false"):
        (tmp_path / f"{flag}.yaml").write_text(f"{text}{flag}\n")
    channel = replace(request, precision="int8", quantization_recipe=tmp_path / "true.yaml", name="channel")
    assert pipeline.export(channel).manifest.parity.outputs[0].sqnr_db > 20
    whole = replace(channel, quantization_recipe=tmp_path / "false.yaml", name="whole")
    with pytest.raises(ParityError, match="expected a signal to quantization noise of 20 dB in logits"):
        pipeline.export(whole)
    assert (tmp_path / "out" / "whole-onnx-int8.rejected" / "quantization.yaml").exists()


def test_ranges_of_other_images_are_refused(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = quantizers.quantize

    def narrow(graph: Any, images: Any, recipe: Any) -> Any:
        """Calibrates on nearly black images, as a wrong scale of the pixels would."""
        dark = [{name: fed * 0.05 for name, fed in feeds.items()} for feeds in images]
        return honest(graph, dark, recipe)

    monkeypatch.setattr(quantizers, "quantize", narrow)
    with pytest.raises(ParityError, match="expected logits within"):
        pipeline.export(ExportRequest(checkpoint, precision="int8", images=PHOTOGRAPHS, form="grouped", out=tmp_path))


def test_float_met_instead_of_int8_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizers, "quantize", lambda graph, images, recipe: graph)
    with pytest.raises(PrecisionError, match="asked int8: 0% of weight bytes are int8, 0 of 0 products"):
        pipeline.export(ExportRequest(checkpoint, precision="int8", images=PHOTOGRAPHS, form="grouped", out=tmp_path))


def test_random_images_write_nothing(checkpoint: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=noise)
    with pytest.raises(CalibrationError, match="random-images: expected photographs, found noise in 12 of 12"):
        pipeline.export(
            ExportRequest(checkpoint, precision="int8", images=tmp_path / "noise.npz", out=tmp_path / "out")
        )
    assert list((tmp_path / "out").glob("*")) == []


def test_unfit_requests_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("library: onnxruntime\n")
    with pytest.raises(RequestError, match="int8 needs images: activations are calibrated") as refused:
        resolve(ExportRequest(checkpoint, precision="int8", out=tmp_path))
    assert refused.value.on_command_line.startswith("int8 needs --images: ")
    with pytest.raises(RequestError, match="quantization_recipe goes with int8 or w8, found it with fp16"):
        resolve(ExportRequest(checkpoint, precision="fp16", quantization_recipe=tmp_path / "r.yaml", out=tmp_path))
    assert resolve(ExportRequest(checkpoint, precision="fp32", out=tmp_path)).numbers.recipe is None
    assert resolve(ExportRequest(checkpoint, precision="w8", out=tmp_path)).numbers.recipe is not None


def test_images_of_the_proof_are_not_calibrated_on() -> None:
    every = ImageSet("set", Path("root"), tuple(Path(f"root/{index:02d}.png") for index in range(40)))
    proof = every.spread(8)
    chosen = calibration_images(every, proof, None, 10, 0)
    assert len(chosen.files) == 10
    assert not set(chosen.files) & set(proof.files)
    assert calibration_images(proof, proof, None, 10, 0) == proof  # too few for both


def test_images_of_the_evaluation_are_calibrated_on_only_where_few_others_are_left() -> None:
    every = ImageSet("set", Path("root"), tuple(Path(f"root/{index:02d}.png") for index in range(80)))
    proof = every.spread(8)
    half, most = (every.spread(count) for count in (40, 60))
    apart = calibration_images(every, proof, half, 300, 0)
    assert not set(apart.files) & {*proof.files, *half.files}
    assert calibration_images(every, proof, most, 300, 0) == every.without(proof)


def numbered(name: str, count: int) -> ImageSet:
    return ImageSet(name, Path(name), tuple(Path(f"{name}/{index:02d}.png") for index in range(count)))


@pytest.mark.parametrize(("extra", "apart"), [(0, True), (-1, False)])
def test_thirty_two_images_apart_are_enough(extra: int, apart: bool) -> None:
    every = numbered("set", 8 + 20 + MIN_CALIBRATION_IMAGES + extra)
    proof, judged_on = every.spread(8), replace(every, files=every.without(every.spread(8)).files[:20])
    chosen = calibration_images(every, proof, judged_on, 300, 0)
    rest = every.without(proof)
    assert chosen == (rest.without(judged_on) if apart else rest)
    assert MIN_CALIBRATION_IMAGES == 32


@pytest.mark.parametrize(("count", "apart"), [(16, True), (15, False)])
def test_of_few_images_as_many_as_prove_are_enough(count: int, apart: bool) -> None:
    every = numbered("set", count)
    proof = every.spread(8)
    assert calibration_images(every, proof, None, 300, 0) == (every.without(proof) if apart else every)


@pytest.mark.parametrize("recipe", [None, QuantizationRecipe("nncf", "float", 20, 0.9, keep_fp32=("a",))])
def test_more_modules_stay_in_float_beside_those_that_were_asked_for(
    recipe: QuantizationRecipe | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slide_export.calibration.recipe.overflows", lambda: True)
    numbers = NumericFormat(FP16, recipe, ("b",))
    kept = numbers.keeping(["c"])
    if recipe is None:
        assert kept == replace(numbers, keep=("b", "c"))
        assert numbers.on_this_machine() is numbers
    else:
        assert kept == replace(numbers, recipe=replace(recipe, keep_fp32=("a", "c")))
        assert numbers.on_this_machine() == replace(numbers, recipe=replace(recipe, cpu_overflows=True))


@pytest.mark.parametrize("precision", [FP32, FP16, BF16, W16])
def test_a_graph_is_rewritten_where_its_precision_rounds(precision: Precision) -> None:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "/fc/MatMul")
    weight = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    proto = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", values[:1], values[1:], [weight]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    graph = OnnxGraph(proto, specs(proto.graph.input), specs(proto.graph.output))
    found, report = in_precision(graph, NumericFormat(precision), None)
    assert report is None
    assert dtypes.count(found.proto).computed == {precision.computed: 1}
    assert (found is graph) is (precision in (FP32, W16))


def test_what_is_calibrated_and_judged_on_is_a_finding(caplog: pytest.LogCaptureFixture) -> None:
    every = ImageSet("set", Path("root"), tuple(Path(f"root/{index}.png") for index in range(40)))
    proof, judged_on = every.spread(8), every.spread(20)
    report = CalibrationReport("set", 40, "", ())
    found = with_overlap(report, every, proof, judged_on)
    assert found is not None
    assert [finding.name for finding in found.findings] == ["calibrated-on-proof", "calibrated-on-evaluation"]
    assert "found 20 of 40 among them" in found.findings[1].message
    assert [message.partition(":")[0] for message in caplog.messages] == [one.name for one in found.findings]
    assert with_overlap(report, every.without(proof).without(judged_on), proof, judged_on) == report
    assert with_overlap(None, every, proof, judged_on) is None
