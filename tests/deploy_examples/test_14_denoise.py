"""The example of denoising: a shortened training that removes noise, exported and judged by photographs not seen."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import slide_export
from slide_export.calibration.images import bundled
from slide_export.digits import train
from tests.deploy_examples.conftest import program_at

FOLDER = Path(train.__file__).parents[1] / "14_denoise"
PAGE_PICTURE = FOLDER.parents[1] / "docs" / "manual" / "assets" / "denoise.jpg"
STEPS = 150
LEAST_GAIN_DB = 3.0  # of 20 dB; the whole training gains more, a model that learns nothing loses


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return program_at(FOLDER / "train.py")


def test_the_pairs_are_of_photographs_that_are_not_trained_on(program: ModuleType, tmp_path: Path) -> None:
    assert set(program.HELD_OUT) < {file.stem for file in bundled().files}
    program.write_pairs(tmp_path, 0)
    for name in program.HELD_OUT:
        noisy, clean = (
            np.asarray(Image.open(tmp_path / kind / f"{name}.png")).astype(float) for kind in ("noisy", "clean")
        )
        assert noisy.shape == (program.SIDE, program.SIDE, 3)
        inside = (clean > 75) & (clean < 180)  # where nothing is cut at 0 or 255
        assert (noisy - clean)[inside].std() == pytest.approx(25, rel=0.02)


def test_the_page_shows_a_picture() -> None:
    with Image.open(PAGE_PICTURE) as picture:
        assert picture.width == 2 * picture.height  # before and after


@pytest.mark.slow
def test_a_short_training_removes_noise_and_so_does_its_artifact(program: ModuleType, tmp_path: Path) -> None:
    said = CliRunner().invoke(program.main, [str(tmp_path), "--steps", str(STEPS)])
    assert said.exit_code == 0, said.output
    pairs = tmp_path / "pairs"
    bundle = slide_export.export(tmp_path / "denoise.pth", "onnx", out=tmp_path, images=pairs, evaluation=pairs)
    accuracy = bundle.manifest.accuracy
    assert accuracy is not None
    assert accuracy.measured is not None
    before = [
        program.psnr(*(np.asarray(Image.open(pairs / kind / f"{name}.png")) / 255 for kind in ("noisy", "clean")))
        for name in program.HELD_OUT
    ]
    assert accuracy.measured.artifact >= np.mean(before) + LEAST_GAIN_DB
    assert accuracy.measured.artifact == pytest.approx(accuracy.measured.pytorch, abs=1e-3)
