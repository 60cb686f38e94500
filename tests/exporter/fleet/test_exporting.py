"""What the stages that make artifacts ask for and answer; what must not ship is an output too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.bundle.store import Bundle
from slide_export.core.errors import GateError
from slide_export.fleet import exporting

ORDER: dict[str, Any] = {"spec": {"options": {"target": "onnx", "export": {}}}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path.relative_to(Path.cwd())


def test_files_are_what_this_directory_has(place: Path) -> None:
    checkpoint, images = put(place / "in/checkpoint/small.pth"), put(place / "in/images/photos")
    found = exporting.request({"images": "/elsewhere", "input_size": [64, 32]}, "openvino")
    assert (found.checkpoint, found.images, found.target) == (checkpoint, images, "openvino")
    assert found.input_size == (64, 32)
    assert found.out == Path("out")


def test_an_artifact_is_made_without_the_checkpoint_and_of_the_bundled_pictures(place: Path) -> None:
    found = exporting.request({"input_size": None, "batch": 2}, "onnx")
    assert (found.checkpoint, found.images) == (Path("in/checkpoint/none"), None)
    assert (found.input_size, found.interface.batch) == (None, 2)


def test_a_bundle_is_told_with_its_size(place: Path, onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place / "in/checkpoint/small.pth")
    monkeypatch.setattr(exporting.prepared_files, "read", lambda _path: None)
    monkeypatch.setattr(exporting, "resolve", lambda _request: None)
    monkeypatch.setattr(exporting, "complete", lambda _plan, _prepared: onnx_bundle)
    found = exporting.export_one(ORDER)
    manifest = onnx_bundle.manifest
    assert (found["exit_code"], found["output"]) == (0, str(onnx_bundle.path))
    assert found["result"] == {
        "bundle": onnx_bundle.path.name,
        "target": "onnx",
        "precision": "fp32",
        "variant": manifest.model.variant,
    }
    assert found["measures"] == {"size_mib": (manifest.artifact.bytes / 2**20, None, None)}


@pytest.mark.parametrize("kept", [True, False])
def test_what_must_not_ship_is_refused_and_kept_in_the_store(
    kept: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = place / "out/small.rejected"

    def refuse(_plan: object, _prepared: object) -> Bundle:
        if kept:
            rejected.mkdir(parents=True)
        raise GateError(f"expected the model, found another; kept as {rejected}; diagnose {rejected} tells where")

    plan = SimpleNamespace(destination=SimpleNamespace(path=place / "out/small"))
    monkeypatch.setattr(exporting.prepared_files, "read", lambda _path: None)
    monkeypatch.setattr(exporting, "resolve", lambda _request: plan)
    monkeypatch.setattr(exporting, "complete", refuse)
    monkeypatch.setattr(exporting.staging, "rejected", lambda _path: rejected)
    found = exporting.export_one(ORDER)
    assert found["message"] == "expected the model, found another; kept in the artifact store"
    assert found["exit_code"] == 1
    assert found.get("output") == (str(rejected) if kept else None)


def test_a_proof_is_told_without_its_time(place: Path, onnx_bundle: Bundle) -> None:
    (place / "in").mkdir()
    (place / "in/bundle").symlink_to(onnx_bundle.path)
    found = exporting.verify_one({})
    assert (found["exit_code"], found["message"]) == (0, "")
    assert '"seconds": 0.0' in str(found["result"]).replace("'", '"')


def test_the_proof_of_what_is_no_bundle_is_its_refusal(place: Path) -> None:
    found = exporting.verify_one({})
    assert found["exit_code"] != 0
    assert "in/bundle" in found["message"]


def test_a_directory_has_one_entry_or_is_not_there(place: Path) -> None:
    assert exporting.only(place / "nowhere") is None
    (place / "empty").mkdir()
    assert exporting.only(place / "empty") is None
    put(place / "one/file")
    assert exporting.only(place / "one") == place / "one/file"
