"""What a wheel and an sdist hold, against the source tree."""

import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {  # of pyproject's package-dir, the innermost name last
    "slide_export": "exporter",
    "slide_export/models": "models",
    "slide_export/calibration": "calibration",
    "slide_export/digits": "deploy_examples/00_digits",
}
NO_DATA = {".pyc", ".md"}  # what lies in a package's folder and is not shipped
BESIDE = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "PKG-INFO"}


def expected() -> dict[str, str]:
    """Path inside the wheel -> path in the tree, of every file that a package has."""
    return {
        f"{package}/{path.relative_to(ROOT / folder)}": str(path.relative_to(ROOT))
        for package, folder in FOLDERS.items()
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix not in NO_DATA and "__pycache__" not in path.parts
    }


def wheel_faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel: missing and foreign files, another version than pyproject's, no licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        metadata = BytesParser().parsebytes(archive.read(f"{info}/METADATA"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    faults = _compared({name for name in names if not name.startswith(info)}, set(expected()))
    faults += [f"no {file}" for file in ("entry_points.txt", "licenses/LICENSE") if f"{info}/{file}" not in names]
    if metadata["Version"] != project["version"]:
        faults.append(f"version {metadata['Version']}, pyproject.toml has {project['version']}")
    if missing := set(project["optional-dependencies"]) - set(metadata.get_all("Provides-Extra", ())):
        faults.append(f"no extra {', '.join(sorted(missing))}")
    return faults


def sdist_faults(sdist: Path) -> list[str]:
    """What is wrong with an sdist: a source of the wheel, or what builds the wheel, is not in it."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return [f"no {name}" for name in sorted((BESIDE | set(expected().values())) - names)]


def _compared(found: Iterable[str], wanted: set[str]) -> list[str]:
    found = set(found)
    return [f"no {name}" for name in sorted(wanted - found)] + [f"foreign {name}" for name in sorted(found - wanted)]
