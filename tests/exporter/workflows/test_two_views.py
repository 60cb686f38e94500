"""MV-Swin-T from a checkpoint to answers: pairs of files everywhere that images are taken."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import slide_export
from slide_export.backends import registry
from slide_export.bundle.store import Bundle
from slide_export.calibration.images import bundled
from slide_export.core.errors import ParityError, RequestError
from slide_export.models.config_tree import write_config
from slide_export.models.mv_swin_t import MvSwinConfig, MvSwinTransformer
from tests.conftest import randomise

SIDE = 64
CONFIG = MvSwinConfig(8, (1, 1, 1, 1), (1, 2, 2, 8), window=2, image_size=(SIDE, SIDE))
EQUAL = 1e-4  # of logits near 1: cosines times up to 100 amplify rounding
# The proof has its eight photographs everywhere here: one logit an image, so fewer tell too little of the noise.


def model() -> MvSwinTransformer:
    torch.manual_seed(0)
    return randomise(MvSwinTransformer(CONFIG)).eval()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "small.pth"
    torch.save({"model": model().state_dict(), "config": write_config(CONFIG, "mv_swin_t")}, path)
    return path


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs of crops in two class folders, in the classes that the model itself gives them."""
    root, photos = tmp_path_factory.mktemp("pairs"), [Image.open(file).convert("RGB") for file in bundled().files]
    for number in range(24):
        photo = photos[number % len(photos)]
        left = 3 * number
        pair = [photo.crop((place, left, place + SIDE, left + SIDE)) for place in (left, left + 100)]
        label = "malignant" if logit(*pair) > 0 else "benign"
        for view, picture in zip(("CC", "MLO"), pair, strict=True):
            (root / label / view).mkdir(parents=True, exist_ok=True)
            picture.save(root / label / view / f"{number:02}.png")
    return root


def logit(cc: Image.Image, mlo: Image.Image) -> float:
    """PyTorch's answer to two pictures of the input's size, in 0..1 without mean and deviation."""
    images = (torch.tensor(np.asarray(one) / 255, dtype=torch.float32).permute(2, 0, 1)[None] for one in (cc, mlo))
    with torch.inference_mode():
        return float(model()(*images))


@pytest.fixture(scope="module")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return slide_export.export(small, "onnx", out=tmp_path_factory.mktemp("made"))


def test_the_photographs_that_come_along_make_pairs(made: Bundle) -> None:
    assert made.manifest.task == "classify_views"
    assert [spec.name for spec in made.manifest.inputs] == ["cc", "mlo"]
    assert made.manifest.parity.passed
    assert made.manifest.parity.top1 == 1.0


def test_an_answer_is_pytorchs_for_folders_and_for_files_in_order(made: Bundle, views: Path) -> None:
    first = next((views / "benign" / "CC").iterdir())
    second = views / "benign" / "MLO" / first.name
    expected = logit(Image.open(first), Image.open(second))
    (answer,) = slide_export.run(made.path, [first]).answers
    assert answer.outputs["logits"].item() == pytest.approx(expected, abs=EQUAL)
    apart = first.parent.parent.parent.parent
    (swapped,) = slide_export.run(made.path, [copy(second, apart, "a.png"), copy(first, apart, "b.png")]).answers
    reverse = logit(Image.open(second), Image.open(first))
    assert abs(reverse - expected) > 10 * EQUAL  # the order of the views matters
    assert swapped.outputs["logits"].item() == pytest.approx(reverse, abs=EQUAL)


def copy(file: Path, folder: Path, name: str) -> Path:
    (folder / name).write_bytes(file.read_bytes())
    return folder / name


def test_accuracy_is_measured_on_pairs(small: Path, views: Path, tmp_path: Path) -> None:
    options = {"images": views, "evaluation": views, "labels": ("benign", "malignant")}
    accuracy = slide_export.export(small, "onnx", out=tmp_path, **options).manifest.accuracy
    assert accuracy is not None
    assert accuracy.images == 24
    assert accuracy.pytorch is not None
    assert accuracy.pytorch.top1 == 1.0  # the classes are its own answers
    assert accuracy.artifact is not None
    assert accuracy.artifact.top1 == 1.0


def test_views_that_are_exchanged_fail_the_proof(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = registry.load("onnx").Session
    honest = session.run
    monkeypatch.setattr(session, "run", lambda self, feeds: honest(self, {"cc": feeds["mlo"], "mlo": feeds["cc"]}))
    with pytest.raises(ParityError, match="expected logits within"):
        slide_export.export(small, "onnx", out=tmp_path)


def test_another_size_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="which were trained at 64x64 alone"):
        slide_export.export(small, "onnx", out=tmp_path, input_size=(96, 96))


def test_a_bundle_is_measured_with_two_images(made: Bundle) -> None:
    (run,) = slide_export.bench([made.path], rounds=1, calls=2).runs
    assert run.p50_ms.value > 0
