"""A bundle that lists less than decides, leads out of itself or is started otherwise than we write it is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slide_export.bundle import intact, store
from slide_export.bundle.manifest import GOLDEN, MANIFEST
from slide_export.bundle.records import PRECISIONS, ArtifactRecord
from slide_export.core.errors import BundleError
from tests.bundles import minimal
from tests.exporter.bundle.test_store import GOLDEN as REFERENCE
from tests.faults.bundles import refit


def make(place: Path, *files: str, **changes: Any) -> Path:
    """A bundle of these files, an ONNX one by itself, written by the code that writes all."""
    for name in files or ("model.onnx",):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"weights")
    store.write(place, minimal(**changes), REFERENCE, "# report\n")
    return place


def refusal(place: Path) -> str:
    with pytest.raises(BundleError) as refused:
        store.read(place)
    said = str(refused.value)
    assert said.isprintable()
    return said


def without(place: Path, name: str) -> Path:
    """A bundle whose `files` leaves one out, every hash fitting."""
    content = json.loads((place / MANIFEST).read_text())
    del content["files"][name]
    refit(place, content)
    return place


def test_every_file_that_a_runtime_reads_has_to_be_listed(tmp_path: Path) -> None:
    ir = {
        "target": "openvino",
        "artifact": ArtifactRecord("model.xml", 7, None, {"device": "CPU", "config": {}}),
    }
    make(tmp_path / "ir", "model.xml", "model.bin", **ir)
    assert store.read(tmp_path / "ir").manifest.target == "openvino"
    assert "expected model.bin among `files`" in refusal(without(tmp_path / "ir", "model.bin"))
    directory = {
        "target": "coreml",
        "artifact": ArtifactRecord(
            "m.mlpackage", 7, None, {"compute_units": "ALL", "mode": "typed", "bytes": False, "labels": []}
        ),
    }
    make(tmp_path / "package", "m.mlpackage/Manifest.json", "m.mlpackage/Data/weight.bin", **directory)
    store.read(tmp_path / "package")
    assert "Data/weight.bin among `files`" in refusal(without(tmp_path / "package", "m.mlpackage/Data/weight.bin"))


def test_a_quantized_bundle_has_to_list_its_recipe(tmp_path: Path) -> None:
    make(tmp_path, "model.onnx", "quantization.yaml", precision=PRECISIONS["int8"])
    store.read(tmp_path)
    assert "expected quantization.yaml among `files`" in refusal(without(tmp_path, "quantization.yaml"))


def test_the_golden_file_has_to_be_listed(tmp_path: Path) -> None:
    assert f"expected files.{GOLDEN} to be an object, found nothing" in refusal(without(make(tmp_path), GOLDEN))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_weights_that_an_onnx_file_has_elsewhere_are_part_of_it(location: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make(tmp_path / "b")
    (tmp_path / "b" / "weights.bin").write_bytes(bytes(16))
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    tensor = onnx.TensorProto(name="w", dims=[4], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    (tmp_path / "b" / "model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    refit(tmp_path / "b")
    said = refusal(tmp_path / "b")
    assert ("weights.bin among `files`" if location == "weights.bin" else "found that it reads") in said


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../model.onnx", "a/../model.onnx", ".", "", "a\\b", "C:model", "a\0b"]
)
def test_a_name_leads_nowhere_but_into_the_bundle(name: str, tmp_path: Path) -> None:
    make(tmp_path)
    content = json.loads((tmp_path / MANIFEST).read_text())
    content["files"][name] = content["files"]["model.onnx"]
    refit(tmp_path, content)
    assert "expected files to be names of files in the bundle" in refusal(tmp_path)


def test_a_link_leads_nowhere_but_into_the_bundle(tmp_path: Path) -> None:
    make(tmp_path / "b")
    (tmp_path / "b" / "model.onnx").rename(tmp_path / "kept.onnx")
    (tmp_path / "b" / "model.onnx").symlink_to("../kept.onnx")
    assert "expected model.onnx inside" in refusal(tmp_path / "b")
    (tmp_path / "kept.onnx").rename(tmp_path / "b" / "kept.onnx")
    (tmp_path / "b" / "model.onnx").unlink()
    (tmp_path / "b" / "model.onnx").symlink_to("kept.onnx")
    store.read(tmp_path / "b")


@pytest.mark.parametrize("name", [MANIFEST, GOLDEN, "model.onnx"])
@pytest.mark.parametrize("kind", ["pipe", "directory", "loop", "zeros"])
def test_what_is_no_file_is_never_read(name: str, kind: str, tmp_path: Path) -> None:
    place = make(tmp_path) / name
    place.unlink()
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
        case "loop":
            place.symlink_to(name)
        case "zeros":
            place.symlink_to("/dev/zero")
    assert "found none" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"threads": 100_000}, "artifact.settings.threads"),
        ({"config": {"session.load_model_format": "ORT"}}, 'artifact.settings.config."session.load'),
        ({"optimization": "fast"}, "artifact.settings.optimization"),
        ({"config": 3}, "artifact.settings.config to be an object"),
        ({"profile": "/tmp/x"}, "artifact.settings.profile"),
    ],
)
def test_settings_that_are_never_written_are_refused(settings: dict[str, Any], setting: str, tmp_path: Path) -> None:
    make(tmp_path, artifact=ArtifactRecord("model.onnx", 7, None, settings))
    said = refusal(tmp_path)
    assert "settings that slide-export writes" in said
    assert setting.replace('"', "") in said.replace('"', "")


@pytest.mark.parametrize("cache", ["/elsewhere", "cache"])
def test_a_cache_that_nobody_asked_for_is_refused_and_any_other_is_left_unused(cache: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from slide_export.backends import optional, registry

    asked = replace(minimal().options, backend={"device": "CPU", "cache": "cache", "static-batches": "1"})
    settings = {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": cache}}
    make(
        *(tmp_path, "model.xml", "model.bin"),
        target="openvino",
        options=asked,
        artifact=ArtifactRecord("model.xml", 7, None, settings),
    )
    if cache == "/elsewhere":
        assert "artifact.settings.config.CACHE_DIR to be absent" in refusal(tmp_path)
    else:
        found = optional.harmless_settings(registry.load("openvino"), store.read(tmp_path).manifest.artifact.settings)
        assert found == {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32"}}


def test_an_error_of_the_system_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> str:
        raise PermissionError(13, "Permission denied", "model.onnx")

    make(tmp_path)
    monkeypatch.setattr(intact, "sha256_of", denied)
    assert "Permission denied" in refusal(tmp_path)


def test_every_byte_of_a_manifest_is_held(tmp_path: Path) -> None:
    text = (make(tmp_path) / MANIFEST).read_bytes()
    for index in range(0, len(text), 5):
        data = bytearray(text)
        data[index] ^= 1
        (tmp_path / MANIFEST).write_bytes(data)
        with pytest.raises(BundleError):
            store.read(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(json.loads(text)))  # other blanks
    store.read(tmp_path)


def test_two_spellings_of_one_number_are_told_apart(tmp_path: Path) -> None:
    path = make(tmp_path) / MANIFEST
    assert '"multiple": 4.0' in path.read_text()
    path.write_text(path.read_text().replace('"multiple": 4.0', '"multiple": 4.00'))
    assert "it was altered" in refusal(tmp_path)


def test_a_bundle_of_today_is_not_read_as_one_of_schema_1(onnx_bundle: store.Bundle, tmp_path: Path) -> None:
    import shutil

    from tests.bundles import as_schema_1

    older = as_schema_1(Path(shutil.copytree(onnx_bundle.path, tmp_path / "b")))
    assert "its sha256 is not what golden.safetensors says" in refusal(older)
