"""The example of two images: from its folder to equal answers, and a bundle of something else that is not equal."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

import slide_export
from slide_export.digits import train
from tests.deploy_examples.conftest import program_at

FOLDER = Path(train.__file__).parents[1] / "13_two_views"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return program_at(FOLDER / "views.py")


@pytest.mark.slow
def test_both_views_reach_the_runtime(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner()
    assert run.invoke(program.main, [str(tmp_path)]).exit_code == 0
    checkpoint, pairs = tmp_path / "views.pth", tmp_path / "pairs"
    bundle = slide_export.export(checkpoint, "onnx", out=tmp_path / "exported", images=pairs)
    assert len(slide_export.run(bundle.path, [pairs]).answers) == 8
    said = run.invoke(program.main, [str(tmp_path), "--bundle", str(bundle.path)])
    assert said.exit_code == 0, said.output
    assert "✓ the largest difference from PyTorch" in said.output
    torch.manual_seed(1)
    other = program.MvSwinTransformer(program.CONFIG).eval()
    monkeypatch.setattr(program, "model", lambda: other)
    assert run.invoke(program.main, [str(tmp_path), "--bundle", str(bundle.path)]).exit_code == 1
