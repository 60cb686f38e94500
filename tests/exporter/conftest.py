"""The small checkpoint as a bundle of each runtime, exported once."""

import shutil
from pathlib import Path

import onnx
import pytest

import slide_export
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.verification.batch import prove_each
from slide_export.verification.outcome import VerifyResult
from tests.bundles import restate
from tests.kept import kept


@pytest.fixture(scope="session")
def onnx_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return _kept(checkpoint, "onnx", tmp_path_factory)


@pytest.fixture(scope="session")
def openvino_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return _kept(checkpoint, "openvino", tmp_path_factory)


def _kept(checkpoint: Path, target: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    def make(out: Path) -> None:
        """Export it."""
        slide_export.export(checkpoint, target, out=out, image_count=2, form="taps")

    return store.read(kept(tmp_path_factory, f"small-{target}", make) / f"small-{target}-fp32")


@pytest.fixture(scope="session")
def exported(onnx_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the bundle `small`, the bundle `altered` with its head's bias gone, and a file."""
    place = tmp_path_factory.mktemp("exported")
    shutil.copytree(onnx_bundle.path, place / "small")
    altered = shutil.copytree(onnx_bundle.path, place / "altered")
    proto = onnx.load(altered / "model.onnx")
    bias = next(item for item in proto.graph.initializer if item.name == "head.bias")
    bias.raw_data = bytes(len(bias.raw_data))
    onnx.save(proto, altered / "model.onnx")
    restate(altered)
    (place / "notes.txt").touch()
    return place


@pytest.fixture(params=["onnx", "openvino"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.getfixturevalue(f"{request.param}_bundle")
    return found


@pytest.fixture(scope="session")
def outcomes(exported: Path) -> tuple[VerifyResult, ...]:
    """Of a bundle that is altered, one that is not there and one that is sound."""
    return prove_each([exported / name for name in ("altered", "absent", "small")])
