"""What a pattern names is what is verified: nothing less, and nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from slide_export.bundle import store as bundle
from slide_export.verification import find
from slide_export.verification.find import find as found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("b", "a", "deep/c", "x[1]"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], ["a", "b", "x[1]"]),
        (["**/*"], ["a", "b", "deep/c", "x[1]"]),
        (["b", "*"], ["b", "a", "x[1]"]),
        (["x[1]"], ["x[1]"]),
        (["n*", "absent", "file"], ["n*", "absent", "file"]),
    ],
)
def test_globs_take_bundles_and_what_matches_none_stays(place: Path, patterns: list[str], names: list[str]) -> None:
    assert found(patterns, place) == tuple(place / name for name in names)
    assert found([str(place / pattern) for pattern in patterns]) == tuple(place / name for name in names)


def test_the_manifest_is_the_bundles_own() -> None:
    assert find.MANIFEST == bundle.MANIFEST


def test_looking_for_bundles_imports_nothing_heavy() -> None:
    script = (
        "import sys, slide_export.verification.find; print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("pattern", ["x" * 300, "a\0b", "[/]", "loop"])
def test_a_name_that_no_bundle_can_have_stays_for_its_reader_to_refuse(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert found([pattern], tmp_path) == (tmp_path / pattern,)


def test_a_directory_that_nobody_may_look_into_stays_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a").mkdir()
    monkeypatch.setattr(Path, "is_file", denied)
    assert found(["*"], tmp_path) == (tmp_path / "a",)
