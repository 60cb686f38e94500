"""From checkpoint to bundle and back, whole."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slide_export.bundle.store import Bundle
from slide_export.calibration import fp16
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError, CalibrationError, ParityError, PrecisionError, RequestError
from slide_export.core.request import ExportRequest
from slide_export.inference.forms.grouped import GroupedSlideAttention
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(ExportRequest(checkpoint, out=tmp_path_factory.mktemp("out")))


def test_bundle_says_what_it_is(made: Bundle) -> None:
    manifest = made.manifest
    assert made.path.name == "small-onnx-fp32"
    assert manifest.parity.passed
    assert [block.block for block in manifest.fusion] == [
        "layers.0.blocks.0.attn",
        "layers.1.blocks.0.attn",
        "layers.1.blocks.1.attn",
    ]
    assert manifest.checkpoint.file == "small.pth"
    assert manifest.preprocessing.resize == (73, 73)
    assert {"torch", "onnx", "onnxruntime", "onnxsim", "slide-export"} <= manifest.versions.keys()
    assert "**equal** to the PyTorch model" in (made.path / "report.md").read_text()


def test_a_wrong_lowering_is_rejected_and_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = GroupedSlideAttention.__init__

    def wrong(self: Any, fused: Any) -> None:
        original(self, fused)
        self.keys.weight.data[0, 0, 0, 0] += 0.01

    monkeypatch.setattr(GroupedSlideAttention, "__init__", wrong)
    with pytest.raises(ParityError, match=r"small-onnx-fp32\.rejected"):
        pipeline.export(ExportRequest(checkpoint, form="grouped", out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["small-onnx-fp32.rejected"]
    assert "REJECTED" in (tmp_path / "small-onnx-fp32.rejected" / "report.md").read_text()


def test_half_is_proved_at_its_own_noise_floor(checkpoint: Path, tmp_path: Path) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, precision="fp16", out=tmp_path))
    (output,) = bundle.manifest.parity.outputs
    assert bundle.manifest.dtype_stats.stored["float16"] > 0
    assert output.sqnr_db > 50
    assert 1e-5 < output.floor_max < 0.1
    assert verification.verify(bundle.path, checkpoint).passed


def test_half_met_with_single_is_rejected(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp16, "to_half", lambda graph, _keep, _precision: graph)
    with pytest.raises(PrecisionError, match="asked fp16: 0% of weight bytes are float16, 0 of"):
        pipeline.export(ExportRequest(checkpoint, precision="fp16", out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["small-onnx-fp16.rejected"]


@pytest.mark.usefixtures("own_export")
def test_the_same_recipe_writes_the_same_bundle(made: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    again = pipeline.export(ExportRequest(checkpoint, out=tmp_path))
    for file in made.path.iterdir():
        assert file.read_bytes() == (again.path / file.name).read_bytes()


@pytest.mark.parametrize(
    ("interface", "outputs"),
    [
        (ModelIO(batch=2, softmax=True, labels=tuple("abcdefghij")), ["probabilities"]),
        (ModelIO(features=True), ["stage1", "stage2", "stage3", "stage4"]),
        (ModelIO(embed_preprocessing=True), ["logits"]),
    ],
)
def test_every_interface_survives_the_round_trip(
    interface: ModelIO, outputs: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, out=tmp_path, interface=interface))
    assert [spec.name for spec in bundle.manifest.outputs] == outputs
    assert verification.verify(bundle.path, checkpoint).passed


def test_another_input_size_is_proved_at_that_size(checkpoint: Path, tmp_path: Path) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, out=tmp_path, input_size=(96, 64), name="wide"))
    assert bundle.manifest.inputs[0].shape == ("batch", 3, 96, 64)
    assert verification.verify(bundle.path, checkpoint).passed


def test_own_images_are_used(checkpoint: Path, tmp_path: Path) -> None:
    from PIL import Image

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        Image.effect_noise((80, 70), 60).save(pictures / f"{index}.png")
    bundle = pipeline.export(ExportRequest(checkpoint, out=tmp_path / "out", images=pictures, image_count=2))
    assert (bundle.manifest.parity.source, bundle.manifest.parity.images) == ("pictures", 2)


REFUSED = [
    ({"target": "abacus"}, RequestError, "expected a target of"),
    ({"precision": "fp8"}, RequestError, "expected a precision of fp32"),
    ({"form": "im2col"}, RequestError, "expected a form of"),
    ({"images": Path("nowhere")}, CalibrationError, "found no directory"),
    ({"image_count": 0}, RequestError, "at least 1 image"),
    ({"interface": ModelIO(labels=("a", "b"))}, RequestError, "expected 10 labels"),
    ({"interface": ModelIO(features=True, softmax=True)}, RequestError, "expected features without softmax"),
    ({"options": {"speed": "max"}}, RequestError, "found 'speed'"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=[next(iter(case[0])) for case in REFUSED])
def test_a_wrong_request_writes_nothing(
    change: dict[str, Any], error: type[Exception], message: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        pipeline.export(ExportRequest(checkpoint, out=tmp_path / "out", **change))
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_an_existing_bundle_is_refused_before_any_work(made: Bundle, checkpoint: Path) -> None:
    steps: list[str] = []

    def step(what: str) -> Any:
        steps.append(what)
        return pipeline.no_progress(what)

    with pytest.raises(BundleError, match="add overwrite or another out"):
        pipeline.export(ExportRequest(checkpoint, out=made.path.parent), step)
    assert steps == []


def test_reference_uses_the_weights_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint)
    content["state_dict_ema"] = {
        key: value * 0.9 if value.is_floating_point() else value for key, value in content["model"].items()
    }
    torch.save(content, tmp_path / "both.pth")
    raw, ema = (
        pipeline.export(ExportRequest(tmp_path / "both.pth", out=tmp_path / w, weights=w)) for w in ("raw", "ema")
    )
    assert (raw.path / "model.onnx").read_bytes() != (ema.path / "model.onnx").read_bytes()
    assert verification.verify(ema.path, tmp_path / "both.pth").passed
    assert load_checkpoint(tmp_path / "both.pth").provenance.weights == "raw"
