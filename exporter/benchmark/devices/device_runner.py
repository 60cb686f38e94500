"""The one file that is copied to a device: a zip of modules of this package that Python runs.

    python3 device_runner.pyz surroundings   answers questions about the machine (`benchmark/surroundings.py`)
    python3 device_runner.pyz worker         runs one artifact (`benchmark/worker.py`)

Packages in it have empty `__init__`s, so that it needs no torch and no click. Everything in it runs on `OLDEST_PYTHON`.
"""

import importlib.metadata
import zipfile
from collections.abc import Iterator
from pathlib import Path

from slide_export.backends import optional
from slide_export.backends import registry as backends

NAME = "device_runner.pyz"
OLDEST_PYTHON = (3, 10)
ROOT = Path(__file__).parents[2]
MODULES = (
    "core/artifact",
    "core/errors",
    "core/graph",
    "core/lint",
    "core/measurement",
    "core/module_outputs",
    "core/orphan",
    "core/plain_load",
    "core/precision",
    "core/proof",
    "core/stored",
    "core/telemetry",
    "core/text",
    "core/typed_json",
    "core/whole_number",
    "backends/interface",
    "backends/native_text",
    "backends/optional",
    "backends/profile",
    "backends/registry",
    "graph/convert",
    "graph/dtypes",
    "graph/shapes",
    "graph/stored",
    "graph/values",
    "graph/passes/weights",
    "benchmark/arrays",
    "benchmark/environment",
    "benchmark/surroundings",
    "benchmark/worker",
    "native/__init__",
    "native/schema",
)
PLACEHOLDERS = {
    "inference/served": 'class ServedModel:\n    """What a backend says that it lowers; here it lowers nothing."""\n',
    "inference/half": '"""For lowering; a device lowers nothing."""\n',
    "inference/foreign_module": '"""For converters; a device converts nothing."""\n',
    "graph/passes/keep_float": '"""For lowering; a device lowers nothing."""\n',
    "native/library": '"""For lowering; a device lowers nothing."""\ndef for_graph(*_):\n    return None\n',
    "backends/isolation": '"""Environments of converters; a device converts nothing."""\n'
    "def installed(*_):\n    return None\n"
    'def command(target):\n    return f"slide-export targets install {target}"\n',
}
"""Modules that a backend names and a device never runs: the real ones need torch, Pillow or a cache."""
MAIN = f"""import sys
if sys.version_info < {OLDEST_PYTHON}:
    sys.exit("expected Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later, found %d.%d" % sys.version_info[:2])
import runpy
from slide_export.core.telemetry import turn_off
turn_off()
runpy.run_module("slide_export.benchmark." + sys.argv[1], run_name="__main__")
"""  # what stands before `import runpy` has to be syntax of any Python
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for every entry: the same version gives the same file


def targets() -> tuple[str, ...]:
    """Targets whose artifacts a runner can run."""
    return tuple(name for name in backends.names() if optional.device_distributions(backends.load(name)))


def modules() -> tuple[str, ...]:
    """Modules in it, as paths below the package without their ending."""
    files = (file for name in targets() for file in sorted((ROOT / "backends" / name).glob("*.py")))
    return MODULES + tuple(file.relative_to(ROOT).with_suffix("").as_posix() for file in files)


def write(directory: Path) -> Path:
    """Write the runner into a directory; give its path."""
    path = directory / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files():
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
    return path


def _files() -> Iterator[tuple[str, str]]:
    version = importlib.metadata.version("slide-export")
    yield "__main__.py", MAIN
    yield (
        f"slide_export-{version}.dist-info/METADATA",
        f"Metadata-Version: 2.1\nName: slide-export\nVersion: {version}\n",
    )
    names = (*modules(), *PLACEHOLDERS)
    # zipimport finds no namespace package: every folder above a module needs an `__init__`, the top one too.
    packages = {folder.as_posix() for name in names for folder in Path("slide_export", name).parents if folder.name}
    for package in sorted(packages):
        if f"{package.removeprefix('slide_export/')}/__init__" not in names:
            yield f"{package}/__init__.py", ""
    for name in names:
        text = PLACEHOLDERS.get(name)
        yield f"slide_export/{name}.py", (ROOT / f"{name}.py").read_text(encoding="utf-8") if text is None else text
