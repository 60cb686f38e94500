"""NBNet from a checkpoint to pictures: outputs by name, the figure on pairs and its goal, drawing."""

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
from slide_export.core.errors import AccuracyError, RequestError
from slide_export.models.config_tree import write_config
from slide_export.models.nbnet import NbNet, NbNetConfig
from tests.conftest import randomise

SIZE = (32, 48)
CONFIG = NbNetConfig(width=4, depth=3, subspace=4, skip_width=8, image_size=SIZE)
EQUAL = 1e-5  # of values near 1, in float32


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nbnet") / "small.pth"
    torch.manual_seed(0)
    torch.save({"state_dict": model().state_dict(), "config": write_config(CONFIG, "nbnet")}, path)
    return path


def model() -> NbNet:
    torch.manual_seed(0)
    return randomise(NbNet(CONFIG)).eval()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs as they are and with noise."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for folder in ("noisy", "clean"):
        (root / folder).mkdir()
    for file in bundled().files[:3]:
        clean = np.asarray(Image.open(file).convert("RGB"))[:40, :60]
        noisy = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(clean).save(root / "clean" / f"{file.stem}.png")
        Image.fromarray(noisy).save(root / "noisy" / f"{file.stem}.png")
    return root


@pytest.fixture(scope="module")
def restored(small: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("restored")
    return slide_export.export(small, "onnx", out=out, images=pairs, evaluation=pairs, image_count=2)


def middle(file: Path) -> torch.Tensor:
    """The picture's middle as the model takes it, cut here and not resized: [1, 3, H, W] in 0..1."""
    pixels = np.asarray(Image.open(file))[4:36, 6:54]
    return torch.tensor(pixels / 255, dtype=torch.float32).permute(2, 0, 1)[None]


def test_the_figure_of_pairs_is_pytorchs(restored: Bundle, pairs: Path) -> None:
    accuracy = restored.manifest.accuracy
    assert accuracy is not None
    assert accuracy.measured is not None
    found = []
    for file in sorted((pairs / "noisy").iterdir()):
        noisy, clean = middle(file), middle(pairs / "clean" / file.name)
        with torch.inference_mode():
            found.append(-10 * torch.log10((noisy - model()(noisy) - clean).square().mean()).item())
    assert accuracy.images == 3
    assert accuracy.measured.pytorch == pytest.approx(np.mean(found), abs=1e-4)
    assert accuracy.measured.artifact == pytest.approx(accuracy.measured.pytorch, abs=1e-3)
    assert accuracy.max_drop == 0.1
    assert accuracy.sentence.startswith("PSNR ")


def test_restored_is_the_image_less_its_noise(restored: Bundle, small: Path, pairs: Path, tmp_path: Path) -> None:
    noise = slide_export.export(small, "onnx", out=tmp_path, output="noise", image_count=1)
    assert [spec.name for spec in noise.manifest.outputs] == ["noise"]
    file = next((pairs / "noisy").iterdir())
    (one,), (other,) = (slide_export.run(bundle.path, [file]).answers for bundle in (restored, noise))
    np.testing.assert_allclose(one.outputs["restored"] + other.outputs["noise"], middle(file)[0], atol=EQUAL)
    assert other.drawn[0].startswith("noise  ")


def test_an_output_that_is_none_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"restored, noise.*found 'clean'"):
        slide_export.export(small, "onnx", out=tmp_path, output="clean")


def test_a_drop_beyond_the_goal_is_refused(restored: Bundle, small: Path, pairs: Path) -> None:
    accuracy = restored.manifest.accuracy
    assert accuracy is not None
    assert accuracy.drop is not None
    goal = {"evaluation": pairs, "max_drop": max(0.0, accuracy.drop) + 1e-9}
    (within,) = slide_export.verify_all([restored.path], small, **goal)
    assert within.passed
    with pytest.raises(AccuracyError, match=r"expected a drop of at most -1 dB, found PSNR"):
        slide_export.measure_accuracy(restored.path, small, pairs, max_drop=-1.0)


def test_a_drop_without_truths_is_refused(small: Path, pairs: Path, tmp_path: Path) -> None:
    alone = {"evaluation": pairs / "clean", "max_drop": 0.1}
    with pytest.raises(RequestError, match="max_drop needs scores of classes, noisy and clean of each image are not"):
        slide_export.export(small, "onnx", out=tmp_path, **alone)


def test_answers_are_drawn_before_and_after(restored: Bundle, pairs: Path, tmp_path: Path) -> None:
    words = ["run", str(restored.path), str(pairs), "--draw", str(tmp_path / "drawn"), "--json"]
    assert cli.run(words) == 0
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name for file in files] == sorted(file.name for file in (pairs / "noisy").iterdir())
    drawn = np.asarray(Image.open(files[0]))
    assert drawn.shape == (32, 96, 3)
    noisy = middle(pairs / "noisy" / files[0].name)
    assert np.array_equal(drawn[:, :48], np.rint(255 * noisy[0].permute(1, 2, 0).numpy()).astype(np.uint8))
    with torch.inference_mode():
        after = (noisy - model()(noisy))[0].permute(1, 2, 0).numpy().clip(0, 1)
    assert np.abs(drawn[:, 48:] - np.rint(255 * after)).max() <= 1  # a value on a half may go either way


def test_words_cannot_be_drawn(onnx_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", str(onnx_bundle.path), str(bundled().files[0]), "--draw", str(tmp_path / "no")]) == 2
    assert (
        "expected a task whose answers are pictures for --draw, found classify: leave it out" in capfd.readouterr().err
    )
    assert not (tmp_path / "no").exists()


def test_the_size_of_tiles_is_said(restored: Bundle) -> None:
    assert any("a tile gives another result" in note for note in restored.manifest.checkpoint.notes)
    assert "a tile gives another result" in (restored.path / "report.md").read_text()
    assert json.loads((restored.path / "manifest.json").read_text())["preprocessing"]["resizes"] is False
