"""What the examples' tests share: proved bundles of the digits model, and the programs that an example needs."""

import importlib.util
import shutil
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.digits import train
from slide_export.workflows import export as pipeline
from tests.kept import kept

DIGITS = Path(train.__file__).parent
EXAMPLES = DIGITS.parent


PACKAGES = EXAMPLES.parent / ".ci" / "system-packages"


def require(*packages: str) -> None:
    """Skip a test where a Debian package is missing; `make test` installs them where it may."""
    witness = dict(line.split() for line in PACKAGES.read_text().splitlines() if not line.startswith("#"))
    missing = [package for package in packages if not _there(witness[package])]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian packages; `make test` as root installs them)")


def _there(witness: str) -> bool:
    """Tell whether a program is on the PATH, or a file exists."""
    return Path(witness).is_file() or shutil.which(witness) is not None


def program_at(path: Path) -> ModuleType:
    """An example's program as a module; its folder has no name that `import` takes."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _export(target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = kept(tmp_path_factory, f"digits-{target}", partial(_write, target))
    (bundle,) = (path for path in place.iterdir() if path.is_dir())
    return bundle


def _write(target: str, folder: Path) -> None:
    facing = ModelIO(labels=tuple((DIGITS / "labels.txt").read_text().split()))
    recipe = ExportRequest(DIGITS / "digits.pth", target, out=folder, images=DIGITS / "heldout", interface=facing)
    pipeline.export(recipe)


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("onnx", tmp_path_factory)


@pytest.fixture(scope="session")
def openvino_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("openvino", tmp_path_factory)


@pytest.fixture(scope="session")
def tensorrt_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("tensorrt", tmp_path_factory)


@pytest.fixture(scope="session")
def ncnn_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("ncnn", tmp_path_factory)


@pytest.fixture(scope="session")
def seven() -> Path:
    """A held-out image of class "seven"."""
    return min((DIGITS / "heldout" / "7").glob("*.png"))
