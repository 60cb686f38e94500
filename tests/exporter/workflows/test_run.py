"""Answers on pictures: a bundle's artifact against an independent pass of PyTorch on the same photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import slide_export
from slide_export.bundle.store import Bundle
from slide_export.calibration.images import bundled
from slide_export.cli import main as cli
from slide_export.core.errors import CalibrationError
from slide_export.core.model import Model

PHOTOS = bundled().files[:3]
CLOSE = 2e-5  # of logits near 1 in float32: tens of roundings of 1e-7 through six blocks, and kernels that differ


def by_hand(model: Model, file: Path) -> np.ndarray:
    """Logits of a photograph, resized, cropped and normalised here: short side is not kept, 73 to 64."""
    picture = Image.open(file).convert("RGB").resize((73, 73), Image.Resampling.BICUBIC)
    left = round((73 - 64) / 2)
    pixels = torch.tensor(np.asarray(picture.crop((left, left, left + 64, left + 64)))) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        return model.module(((pixels - mean) / std).permute(2, 0, 1).float()[None])[0].numpy()


def test_an_artifact_answers_a_photograph_as_pytorch_does(onnx_bundle: Bundle, model: Model) -> None:
    (answer,) = slide_export.run(onnx_bundle.path, [PHOTOS[0]]).answers
    expected = by_hand(model, PHOTOS[0])
    np.testing.assert_allclose(answer.outputs["logits"], expected, atol=CLOSE)
    share = np.exp(expected - expected.max()) / np.exp(expected - expected.max()).sum()
    best = np.argsort(-share)[:5]
    assert [line.split("  ")[0].strip() for line in answer.drawn] == [f"class {index}" for index in best]
    assert answer.drawn[0].endswith(f"{share[best[0]]:.2%}")
    assert answer.trained is None


def test_the_checkpoint_answers_beside_it(onnx_bundle: Bundle, checkpoint: Path, model: Model) -> None:
    result = slide_export.run(onnx_bundle.path, PHOTOS[:2], against=checkpoint)
    for answer, file in zip(result.answers, PHOTOS, strict=False):
        assert answer.trained is not None
        np.testing.assert_allclose(answer.trained["logits"], by_hand(model, file), atol=1e-6)
        assert answer.largest_difference == pytest.approx(
            np.abs(answer.outputs["logits"] - answer.trained["logits"]).max(), abs=1e-9
        )
        assert [line.split("  ")[0] for line in answer.drawn] == [line.split("  ")[0] for line in answer.trained_drawn]


def test_a_fixed_batch_answers_any_number_of_photographs(checkpoint: Path, tmp_path: Path, model: Model) -> None:
    made = slide_export.export(
        checkpoint, "onnx", out=tmp_path, batch=2, image_count=2, embed_preprocessing=True, softmax=True
    )
    answers = slide_export.run(made.path, PHOTOS).answers
    assert [answer.image for answer in answers] == list(PHOTOS)
    for answer in answers:
        logits = torch.tensor(by_hand(model, answer.image))
        np.testing.assert_allclose(answer.outputs["probabilities"], logits.softmax(0), atol=CLOSE)


def test_the_command_prints_answers_alone_to_stdout(
    onnx_bundle: Bundle, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in PHOTOS[:2]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert cli.run(["run", str(onnx_bundle.path), str(tmp_path), "--against", str(checkpoint)]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[0].startswith("small-onnx-fp32: onnx fp32, classify (ONNX Runtime")
    assert said.out.count("artifact") == said.out.count("PyTorch") == 2
    assert "read the bundle" in said.err
    assert cli.run(["run", str(onnx_bundle.path), str(tmp_path), "--json"]) == 0
    images = json.loads(capfd.readouterr().out)["images"]
    assert [len(one["outputs"]["logits"]["values"]) for one in images] == [10, 10]
    assert images[0]["pytorch"] is None


def test_what_is_no_picture_is_refused_in_one_sentence(
    onnx_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (broken := tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert cli.run(["run", str(onnx_bundle.path), str(PHOTOS[0]), str(broken)]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert f"error: expected an image, {broken} cannot be decoded (not an image)" in said.err
    with pytest.raises(CalibrationError, match=r"expected an image or a folder of images at .*absent"):
        slide_export.run(onnx_bundle.path, [tmp_path / "absent"])
