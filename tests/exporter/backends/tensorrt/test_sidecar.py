from pathlib import Path

import pytest

from slide_export.backends import tensorrt
from slide_export.backends.tensorrt import sidecar
from slide_export.core.errors import BundleError
from tests.exporter.backends.tensorrt.conftest import builds, graph, lower


@builds
@pytest.mark.parametrize("part", ["model.plan", "model.onnx"])
def test_an_altered_file_is_refused(tmp_path: Path, part: str) -> None:
    artifact = lower(graph(), tmp_path)
    data = bytearray((tmp_path / part).read_bytes())
    data[-1] ^= 1
    (tmp_path / part).write_bytes(data)
    with pytest.raises(BundleError, match="was altered"):
        tensorrt.census(artifact.path, artifact.settings)
    if part == "model.plan":
        with pytest.raises(BundleError, match="was altered"):
            tensorrt.Session(artifact.path, artifact.settings)


@builds
def test_a_plan_without_its_sidecar_is_refused(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path)
    artifact.path.with_name(sidecar.SIDECAR).unlink()
    with pytest.raises(BundleError, match="expected the sidecar"):
        tensorrt.Session(artifact.path, artifact.settings)


BUILT = {"flavor": "rtx", "version": "1.7.1", "compute_capabilities": ["8.6"]}


@pytest.mark.parametrize(
    ("version", "device", "errors", "reason"),
    [
        ("1.8.0", "8.6", [], "it was built by TensorRT RTX 1.7.1 and this is 1.8.0;"),
        ("1.7.1", "7.5", [], "for GPUs of compute capability 8.6 and this one has 7.5;"),
        ("1.7.1", "8.6", ["its header says malformed engine"], "does not: its header says malformed engine;"),
        ("1.7.1", "8.6", [], "no reason given"),
    ],
)
def test_a_misfit_has_a_human_reason(version: str, device: str, errors: list[str], reason: str) -> None:
    said = sidecar.misfit(BUILT, version, device, errors)
    assert reason in said
    assert said.endswith(sidecar.REBUILD)
