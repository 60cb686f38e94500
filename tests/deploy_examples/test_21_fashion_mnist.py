"""The example of Fashion-MNIST: its files are read; a shortened training is exported and judged by test pictures."""

import gzip
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import slide_export
from slide_export.cli import main as cli
from slide_export.digits import train as digits
from tests.deploy_examples.conftest import program_at, require

FOLDER = Path(digits.__file__).parents[1] / "21_fashion_mnist"
TRAINED, TESTED = 4000, 500  # of 60,000 and 10,000
LEAST = 0.65  # after two short epochs; a model that learns nothing has 0.1


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return program_at(FOLDER / "train.py")


def write_idx(file: Path, values: np.ndarray) -> None:
    """Write pictures [N, 28, 28] or classes [N] as MNIST's files are."""
    first = 2051 if values.ndim == 3 else 2049
    head = b"".join(size.to_bytes(4, "big") for size in (first, *values.shape))
    file.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def test_a_file_gives_what_was_written_and_another_one_is_refused(program: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 256, (3, 28, 28)), rng.integers(0, 10, 5)):
        write_idx(tmp_path / "values.gz", values)
        assert np.array_equal(program.read(tmp_path / "values.gz"), values)
    (tmp_path / "values.gz").write_bytes(gzip.compress(b"another file"))
    with pytest.raises(click.UsageError, match="expected pictures or classes of MNIST's form"):
        program.read(tmp_path / "values.gz")


def test_pictures_are_mirrored_and_shifted_and_nothing_else(program: ModuleType) -> None:
    torch.manual_seed(0)
    gray = torch.arange(1, 65).repeat(64, 1)[None, None].to(torch.uint8)  # columns 1..64
    found = {tuple(program.augment(gray)[0, 0, 32].tolist()) for _ in range(64)}
    rows = {tuple(np.pad(row, 4)[shift : shift + 64]) for row in (range(1, 65), range(64, 0, -1)) for shift in range(9)}
    assert found <= rows
    assert len(found) > 9  # both ways round


def test_what_is_there_is_not_written_over(program: ModuleType, tmp_path: Path) -> None:
    said = CliRunner().invoke(program.main, ["--out", str(tmp_path)])
    assert said.exit_code == 2
    assert "must be a new directory" in said.output
    said = CliRunner().invoke(program.main, ["--data", str(tmp_path / "none"), "--out", str(tmp_path / "new")])
    assert said.exit_code == 2
    assert "apt-get install dataset-fashion-mnist" in said.output
    assert not (tmp_path / "new").exists()


def test_the_plan_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plan.yaml").write_text((FOLDER / "plan.yaml").read_text())
    place = tmp_path / "fashion"
    place.mkdir()
    (place / "fashion.pth").symlink_to(FOLDER.parent / "00_digits" / "digits.pth")
    for name in ("test", "calibration"):
        (place / name).symlink_to(FOLDER.parent / "00_digits" / "heldout")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["sweep", "plan.yaml", "--dry-run"]) == 0


@pytest.mark.slow
def test_a_short_training_keeps_its_accuracy_in_8_bits(program: ModuleType, tmp_path: Path) -> None:
    require("dataset-fashion-mnist")
    short = tmp_path / "data"
    short.mkdir()
    for which, count in (("train", TRAINED), ("t10k", TESTED)):
        for part in ("images-idx3", "labels-idx1"):
            name = f"{which}-{part}-ubyte.gz"
            write_idx(short / name, program.read(program.DATA / name)[:count])
    out = tmp_path / "fashion"
    said = CliRunner().invoke(program.main, ["--data", str(short), "--out", str(out), "--epochs", "2"])
    assert said.exit_code == 0, said.output
    bundle = slide_export.export(
        out / "fashion.pth",
        "onnx",
        precision="int8",
        out=tmp_path,
        images=out / "calibration",
        evaluation=out / "test",
        max_drop=3.0,
    )
    accuracy = bundle.manifest.accuracy
    assert accuracy is not None
    assert accuracy.passed
    assert accuracy.images == TESTED
    assert accuracy.pytorch is not None
    assert accuracy.pytorch.top1 >= LEAST
