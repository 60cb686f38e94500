"""What the examples' tests share: proved bundles of the digits model, and the programs that an example needs."""

import os
import shutil
from pathlib import Path

import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.digits import train
from slide_export.workflows import export as pipeline

DIGITS = Path(train.__file__).parent
EXAMPLES = DIGITS.parent


def require(*programs: str) -> None:
    """Skips a test where a program is missing; under CI, which installs them all, that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        said = f"needs {', '.join(missing)} (Debian: see SYSTEM_PACKAGES in the Makefile)"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)


def _export(target: str, folder: Path) -> Path:
    facing = ModelIO(labels=tuple((DIGITS / "labels.txt").read_text().split()))
    recipe = ExportRequest(DIGITS / "digits.pth", target, out=folder, images=DIGITS / "heldout", interface=facing)
    return pipeline.export(recipe).path


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("onnx", tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def openvino_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("openvino", tmp_path_factory.mktemp("openvino"))


@pytest.fixture(scope="session")
def tensorrt_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export("tensorrt", tmp_path_factory.mktemp("tensorrt"))


@pytest.fixture(scope="session")
def seven() -> Path:
    """A held-out image of class "seven"."""
    return min((DIGITS / "heldout" / "7").glob("*.png"))
