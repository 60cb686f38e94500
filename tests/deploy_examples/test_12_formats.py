"""The way from a library's checkpoint: with the libraries' stored outputs here, with the libraries in `make slow`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from slide_export.digits import train
from tests.deploy_examples.conftest import program_at
from tests.exporter.checkpoint.foreign import golden, write
from tests.exporter.checkpoint.libraries import library, quiet

PROGRAM = Path(train.__file__).parents[1] / "12_formats" / "from_library.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return program_at(PROGRAM)


def run(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["from_library.py", *arguments])
    code: int = program.main()
    return code


def stored(name: str, program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], object]:
    """What makes a library's checkpoint: the stored one, whose logits are known for the stored images."""
    drawn = golden(name)
    monkeypatch.setattr(program, "SIZE", tuple(drawn.meta["input_shape"][2:]))
    monkeypatch.setattr(torch, "randn", lambda *_shape, **_options: drawn.inputs["input"])
    return lambda folder: (write(drawn, folder), lambda _images: torch.from_numpy(drawn.outputs["logits"]))


@pytest.mark.parametrize("name", ["torchvision_swin", "hf_swin"])
def test_a_librarys_model_arrives_and_another_does_not(
    name: str, program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = stored(name, program, monkeypatch)
    monkeypatch.setitem(program.LIBRARIES, "torchvision", make)
    assert run(program, monkeypatch, "torchvision", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.startswith("✓")
    monkeypatch.setattr(program, "difference", lambda *_: 10 * program.CLOSE)
    (tmp_path / "other").mkdir()
    assert run(program, monkeypatch, "torchvision", str(tmp_path / "other")) == 1


def test_a_library_that_is_not_installed_is_named(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert run(program, monkeypatch, "transformers", str(tmp_path)) == 3
    assert "pip install -r requirements.txt" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision", "transformers"])
def test_the_libraries_themselves(
    name: str, program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(name)
    with quiet():
        assert run(program, monkeypatch, name, str(tmp_path)) == 0
