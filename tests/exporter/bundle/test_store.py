"""A bundle is whole or not there, and says when it was altered."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from slide_export.bundle import store as bundle
from slide_export.bundle.manifest import MANIFEST
from slide_export.bundle.staging import staging
from slide_export.core.errors import BundleError, ParityError
from slide_export.core.files import sha256_of
from slide_export.core.proof import Reference
from tests.bundles import minimal

GOLDEN = Reference(
    "photos",
    ("a.jpg", "b.jpg"),
    {"images": np.arange(24576, dtype=np.float32).reshape(2, 3, 64, 64)},
    {"logits": np.array([[1.0, 2.0], [3.0, 4.0]])},
    {"logits": np.array([[1, 2], [3, 4]], np.float32)},
)


def make(place: Path, *, overwrite: bool = False, content: bytes = b"weights") -> None:
    with staging(place, overwrite=overwrite) as directory:
        (directory / "model.onnx").write_bytes(content)
        bundle.write(directory, minimal(), GOLDEN, "# report\n")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    make(tmp_path / "b")
    made = bundle.read(tmp_path / "b")
    golden = bundle.golden(made)
    assert made.manifest.name == "n"
    assert (golden.source, golden.images) == (GOLDEN.source, GOLDEN.images)
    assert np.array_equal(golden.exact["logits"], GOLDEN.exact["logits"])
    assert golden.exact["logits"].dtype == np.float64
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "golden.safetensors",
        "manifest.json",
        "model.onnx",
        "report.md",
    ]


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_every_file_may_be_read_by_whom_the_artifact_may(tmp_path: Path) -> None:
    make(tmp_path / "b")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "b").iterdir()} == {
        (tmp_path / "b" / "model.onnx").stat().st_mode & 0o777
    }


def test_a_failed_proof_is_kept_as_rejected(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        with pytest.raises(ParityError), staging(tmp_path / "b", overwrite=False) as directory:
            (directory / "model.onnx").write_bytes(content)
            bundle.write(directory, minimal(), GOLDEN, "# report\n")
            raise ParityError("not equal")
    assert [path.name for path in tmp_path.iterdir()] == ["b.rejected"]
    assert (tmp_path / "b.rejected" / "model.onnx").read_bytes() == b"second"


def test_a_failed_proof_leaves_the_older_bundle(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with pytest.raises(ParityError), staging(tmp_path / "b", overwrite=True):
        raise ParityError("not equal")
    assert bundle.read(tmp_path / "b").manifest.name == "n"


def test_an_existing_bundle_needs_overwrite(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with pytest.raises(BundleError, match="add overwrite or another out"):
        make(tmp_path / "b")
    make(tmp_path / "b", overwrite=True, content=b"new")
    assert (tmp_path / "b" / "model.onnx").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_directory_that_is_no_bundle_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="not slide-export's"):
        make(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / "thesis.tex").read_text() == "years of work"


def test_an_altered_file_is_named(tmp_path: Path) -> None:
    make(tmp_path / "b")
    (tmp_path / "b" / "model.onnx").write_bytes(b"weighty")
    with pytest.raises(BundleError, match=r"model\.onnx as it was exported"):
        bundle.read(tmp_path / "b")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make(tmp_path / "b")
    (tmp_path / "b" / "golden.safetensors").unlink()
    with pytest.raises(BundleError, match=r"expected golden\.safetensors"):
        bundle.read(tmp_path / "b")


def test_an_altered_manifest_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "b")
    path = tmp_path / "b" / MANIFEST
    path.write_text(path.read_text().replace('"passed": true', '"passed": false'))
    with pytest.raises(BundleError, match=r"expected manifest\.json as it was exported, its sha256 is not what golden"):
        bundle.read(tmp_path / "b")


def test_golden_files_of_two_bundles_are_not_exchanged(tmp_path: Path) -> None:
    """The exchanged one's hash is put into the manifest, so that only what it says of the manifest tells."""
    make(tmp_path / "a")
    make(tmp_path / "b", content=b"others")
    path, golden = tmp_path / "b" / MANIFEST, tmp_path / "a" / "golden.safetensors"
    content = json.loads(path.read_text())
    content["files"][golden.name] = {"bytes": golden.stat().st_size, "sha256": sha256_of(golden)}
    path.write_text(json.dumps(content))
    (tmp_path / "b" / golden.name).write_bytes(golden.read_bytes())
    with pytest.raises(BundleError, match=r"its sha256 is not what golden\.safetensors says"):
        bundle.read(tmp_path / "b")


def test_the_manifests_hash_is_that_of_its_canonical_json(tmp_path: Path) -> None:
    make(tmp_path / "b")
    content = json.loads((tmp_path / "b" / MANIFEST).read_text())
    del content["files"]["golden.safetensors"]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    with safe_open(tmp_path / "b" / "golden.safetensors", framework="numpy") as file:
        said = json.loads(file.metadata()["reference"])["manifest_sha256"]
    assert said == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("metadata", [None, {}, {"reference": "[]"}, {"reference": '{"source": 1, "images": []}'}])
def test_a_golden_file_that_does_not_say_what_it_is_of_is_refused(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    make(tmp_path / "b")
    save_file({"input.images": np.zeros(2)}, tmp_path / "b" / "golden.safetensors", metadata)
    content = json.loads((tmp_path / "b" / MANIFEST).read_text())
    content["files"]["golden.safetensors"]["sha256"] = sha256_of(tmp_path / "b" / "golden.safetensors")
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"expected a safetensors file golden\.safetensors in .*, it cannot be read"):
        bundle.read(tmp_path / "b")


@pytest.mark.parametrize("manifest", [None, "not json", json.dumps({"schema": 99})])
def test_what_is_no_bundle_is_refused(manifest: str | None, tmp_path: Path) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BundleError, match=r"expected a (bundle|manifest)"):
        bundle.read(tmp_path)


def test_a_glob_that_matches_nothing_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"at .*/nothing-\*, found nothing that matches"):
        bundle.read(tmp_path / "nothing-*")
    with pytest.raises(BundleError, match="found none that can be read"):
        bundle.read(tmp_path / "nothing")


def test_a_bundle_is_short_to_look_at(tmp_path: Path) -> None:
    make(tmp_path / "b")
    assert repr(bundle.read(tmp_path / "b")) == f"Bundle(path={tmp_path / 'b'!r})"


def test_a_bundle_that_is_exchanged_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "b")
    read, found = bundle.contract.load, []

    def replaced_meanwhile(path: Path) -> object:
        found.append(read(path))
        if len(found) == 1:
            make(tmp_path / "b", overwrite=True, content=b"newer")
        return found[-1]

    monkeypatch.setattr(bundle.contract, "load", replaced_meanwhile)
    manifest = bundle.read(tmp_path / "b").manifest
    assert manifest.files["model.onnx"].sha256 == hashlib.sha256(b"newer").hexdigest()
    assert len(found) > 1
