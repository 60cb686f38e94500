"""A bundle is whole or not there, and says when it was altered."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from slide_export.bundle import store as bundle
from slide_export.core.errors import BundleError, ParityError
from slide_export.core.proof import Reference

GOLDEN = Reference(
    "photos",
    ("a.jpg", "b.jpg"),
    {"images": np.arange(24, dtype=np.float32).reshape(2, 12)},
    {"logits": np.array([[1.0, 2.0], [3.0, 4.0]])},
    {"logits": np.array([[1, 2], [3, 4]], np.float32)},
)


def make(place: Path, *, overwrite: bool = False, content: bytes = b"weights") -> None:
    with bundle.staging(place, overwrite=overwrite) as directory:
        (directory / "model.onnx").write_bytes(content)
        bundle.write(directory, {"name": "n"}, GOLDEN, "# report\n")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    make(tmp_path / "b")
    made = bundle.read(tmp_path / "b")
    golden = bundle.golden(made)
    assert made.manifest["name"] == "n"
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


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="crash"), bundle.staging(tmp_path / "b", overwrite=False) as directory:
        (directory / "model.onnx").write_bytes(b"half")
        raise RuntimeError("crash")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No space left"), bundle.staging(tmp_path / "b", overwrite=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(BundleError, match="choose another --out"),
        bundle.staging(tmp_path / "file" / "b", overwrite=False),
    ):
        pass


def test_a_failed_proof_is_kept_as_rejected(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        with pytest.raises(ParityError), bundle.staging(tmp_path / "b", overwrite=False) as directory:
            (directory / "model.onnx").write_bytes(content)
            raise ParityError("not equal")
    assert [path.name for path in tmp_path.iterdir()] == ["b.rejected"]
    assert (tmp_path / "b.rejected" / "model.onnx").read_bytes() == b"second"


def test_a_failed_proof_leaves_the_older_bundle(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with pytest.raises(ParityError), bundle.staging(tmp_path / "b", overwrite=True):
        raise ParityError("not equal")
    assert bundle.read(tmp_path / "b").manifest["name"] == "n"


def test_an_existing_bundle_needs_overwrite(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with pytest.raises(BundleError, match="--overwrite"):
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


@pytest.mark.parametrize("manifest", [None, "not json", json.dumps({"schema": 99})])
def test_what_is_no_bundle_is_refused(manifest: str | None, tmp_path: Path) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BundleError, match=r"expected a (bundle|manifest)"):
        bundle.read(tmp_path)
