"""The file that goes to a device: all that it needs, nothing more, and a sentence where Python is too old."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import vermin

from slide_export.benchmark.devices import device_runner


def sources() -> dict[str, str]:
    return {name: (device_runner.ROOT / f"{name}.py").read_text() for name in device_runner.modules()}


def imported(tree: ast.AST, package: str) -> set[str]:
    """The modules of ours that a file of a package imports, wherever in it, but for those for type checking alone."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {f"{package}.{node.module or alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in found if name.startswith("slide_export.")}


def package_of(name: str) -> str:
    return "slide_export." + name.rpartition("/")[0].replace("/", ".")


def test_every_module_that_one_in_it_imports_is_in_it() -> None:
    names = (*device_runner.modules(), *device_runner.PLACEHOLDERS)
    held = {f"slide_export.{name}".replace("/", ".").removesuffix(".__init__") for name in names}
    packages = {name.rpartition(".")[0] for name in held}
    for name, source in sources().items():
        wanted = {
            path
            for path in imported(ast.parse(source), package_of(name))
            if device_runner.ROOT.joinpath(*path.split(".")[1:]).exists()
        }
        files = {
            path
            for path in imported(ast.parse(source), package_of(name))
            if (device_runner.ROOT / f"{'/'.join(path.split('.')[1:])}.py").exists()
        }
        assert files <= held, name
        assert wanted <= packages | held, name


@pytest.mark.parametrize("name", device_runner.modules())
def test_each_is_syntax_and_library_of_the_oldest_python(name: str) -> None:
    source = sources()[name]
    ast.parse(source, feature_version=device_runner.OLDEST_PYTHON)
    config = vermin.Config()
    config.set_eval_annotations(True)
    _, least = vermin.detect(source, config)
    assert least <= device_runner.OLDEST_PYTHON


def test_the_check_of_the_library_finds_what_is_newer() -> None:
    _, least = vermin.detect("from datetime import UTC")
    assert least == (3, 11)


def test_it_answers_without_anything_installed(tmp_path: Path) -> None:
    path = device_runner.write(tmp_path)
    command = (sys.executable, "-I", "-S", path, "surroundings")
    asked = '{"processors": null}\n{"missing": ["json", "numpy"]}\n'
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    processors, missing = done.stdout.splitlines()
    assert processors.startswith('{"processors": [')
    assert missing == '{"missing": ["numpy"]}'


@pytest.mark.parametrize("version", [(2, 7), (3, 9)])
def test_an_older_python_gets_a_sentence(version: tuple[int, int]) -> None:
    head = device_runner.MAIN.partition("import runpy")[0].replace("import sys\n", "")
    script = f"import sys; sys.version_info = {version}\n{head}"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=False)
    assert done.stderr == "expected Python 3.10 or later, found {}.{}\n".format(*version)
    assert done.returncode == 1


def test_it_is_the_same_file_every_time_and_small(tmp_path: Path) -> None:
    first = device_runner.write(tmp_path).read_bytes()
    assert first == device_runner.write(tmp_path).read_bytes()
    assert len(first) < 180_000  # five backends, with what lowers them


def test_targets_that_need_pytorch_are_not_in_it(tmp_path: Path) -> None:
    names = zipfile.ZipFile(device_runner.write(tmp_path)).namelist()
    assert "slide_export/backends/onnx/__init__.py" in names
    assert not any(name.startswith("slide_export/backends/coreml") for name in names)


@pytest.mark.parametrize("target", device_runner.targets())
def test_each_backend_is_imported_without_pytorch(target: str, tmp_path: Path) -> None:
    """What needs torch to lower, and a device does not lower, imports it there alone."""
    script = (
        f"import sys; sys.path.insert(0, {str(device_runner.write(tmp_path))!r}); "
        "sys.modules.update(torch=None, PIL=None, onnx=None); "
        f"from slide_export.backends import registry; found = registry.load({target!r}); "
        "print(found.Session.__name__, found.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(f"Session {tmp_path}")
