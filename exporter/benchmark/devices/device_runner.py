"""The one file that is copied to a device: those modules of this package that answer there, in a zip that Python runs.

    python3 runner.pyz surroundings      answers what the machine is (`measuring/surroundings.py`)
    python3 runner.pyz worker            runs one artifact (`measuring/worker.py`)

Packages in it have empty `__init__`s, so that it needs no torch and no click. Everything in it runs on `OLDEST`.
"""

import importlib.metadata
import zipfile
from collections.abc import Iterator
from pathlib import Path

from slide_export.backends import registry as backends

NAME = "runner.pyz"
OLDEST = (3, 10)
ROOT = Path(__file__).parents[2]
MODULES = (
    "core/errors",
    "core/measurement",
    "backends/interface",
    "backends/registry",
    "graph/dtypes",
    "graph/values",
    "graph/passes/weights",
    "benchmark/arrays",
    "benchmark/environment",
    "benchmark/profile",
    "benchmark/surroundings",
    "benchmark/worker",
)
MAIN = f"""import sys
if sys.version_info < {OLDEST}:
    sys.exit("expected Python {OLDEST[0]}.{OLDEST[1]} or later, found %d.%d" % sys.version_info[:2])
import runpy
runpy.run_module("slide_export.benchmark." + sys.argv[1], run_name="__main__")
"""  # what stands before `import runpy` has to be syntax of any Python
DAWN = (1980, 1, 1, 0, 0, 0)  # the same file for the same version


def targets() -> tuple[str, ...]:
    """Returns the targets whose artifacts a runner can run."""
    return tuple(name for name in backends.names() if backends.load(name).DEVICE)


def modules() -> tuple[str, ...]:
    """Returns the modules in it, as paths below the package without their ending."""
    files = (file for name in targets() for file in sorted((ROOT / "backends" / name).glob("*.py")))
    return MODULES + tuple(file.relative_to(ROOT).with_suffix("").as_posix() for file in files)


def write(directory: Path) -> Path:
    """Returns the runner, written into a directory."""
    path = directory / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files():
            archive.writestr(zipfile.ZipInfo(name, DAWN), content, zipfile.ZIP_DEFLATED)
    return path


def _files() -> Iterator[tuple[str, str]]:
    version = importlib.metadata.version("slide-export")
    yield "__main__.py", MAIN
    yield (
        f"slide_export-{version}.dist-info/METADATA",
        f"Metadata-Version: 2.1\nName: slide-export\nVersion: {version}\n",
    )
    names = modules()
    for package in sorted({str(Path("slide_export", name).parent) for name in names}):
        if f"{package.removeprefix('slide_export/')}/__init__" not in names:
            yield f"{package}/__init__.py", ""
    for name in names:
        yield f"slide_export/{name}.py", (ROOT / f"{name}.py").read_text(encoding="utf-8")
