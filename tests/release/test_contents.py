"""What is missing from a wheel or an sdist is named, and what has no business in it."""

import io
import tarfile
import tomllib
import zipfile
from pathlib import Path

from tests.release.contents import BESIDE, ROOT, expected, sdist_faults, wheel_faults
from tests.release.pythons import pythons

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INFO = f"slide_export-{PROJECT['version']}.dist-info"
METADATA = "\n".join(
    [f"Version: {PROJECT['version']}", *(f"Provides-Extra: {extra}" for extra in PROJECT["optional-dependencies"])]
)


def wheel(path: Path, names: set[str], metadata: str = METADATA) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names | {f"{INFO}/entry_points.txt", f"{INFO}/licenses/LICENSE"}:
            archive.writestr(name, "")
        archive.writestr(f"{INFO}/METADATA", metadata)
    return path


def test_every_source_and_all_data_are_expected() -> None:
    assert expected()["slide_export/cli/main.py"] == "exporter/cli/main.py"
    assert expected()["slide_export/models/counts.json"] == "models/counts.json"
    assert "slide_export/calibration/photos/chelsea.jpg" in expected()
    assert expected()["slide_export/digits/digits.pth"] == "deploy_examples/00_digits/digits.pth"
    assert not any(path.startswith("tests") for path in expected().values())


def test_a_whole_wheel_has_no_fault(tmp_path: Path) -> None:
    assert wheel_faults(wheel(tmp_path / "a.whl", set(expected()))) == []


def test_a_missing_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    names = set(expected()) - {"slide_export/pages/page.css"} | {"tests/conftest.py"}
    assert wheel_faults(wheel(tmp_path / "a.whl", names)) == [
        "no slide_export/pages/page.css",
        "foreign tests/conftest.py",
    ]


def test_another_version_and_a_missing_extra_are_named(tmp_path: Path) -> None:
    metadata = METADATA.replace(PROJECT["version"], "9.9").replace("Provides-Extra: all\n", "")
    assert wheel_faults(wheel(tmp_path / "a.whl", set(expected()), metadata)) == [
        f"version 9.9, pyproject.toml has {PROJECT['version']}",
        "no extra all",
    ]


def test_an_sdist_without_setup_py_builds_no_wheel(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in (BESIDE | set(expected().values())) - {"setup.py"}:
            archive.addfile(tarfile.TarInfo(f"slide_export-0.1.0/{name}"), io.BytesIO())
    assert sdist_faults(tmp_path / "a.tar.gz") == ["no setup.py"]


def test_a_python_of_this_machine_is_found() -> None:
    found = pythons()
    assert found
    assert all(version.startswith("3.") and python.exists() for version, python in found.items())
