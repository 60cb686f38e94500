"""Nothing phones home: what each command looks up, connects to and writes, in a process with an empty home."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slide_export.benchmark.devices import device_runner
from slide_export.bundle.store import Bundle
from slide_export.core import telemetry
from slide_export.digits import train
from tests import watched
from tests.watched import Watched, needs_compiler

DIGITS = Path(train.__file__).parent
PLANTED = """
import pathlib, socket
try:
    socket.getaddrinfo("telemetry.invalid", 443)
except OSError:
    pass
try:
    socket.create_connection(("192.0.2.1", 443), timeout=1)
except OSError:
    pass
(pathlib.Path.home() / "id").write_text("planted")
place = pathlib.Path("/tmp/slide-export-watched")
if place.exists():
    place.rmdir()
place.mkdir()
place.mkdir(exist_ok=True)
place.parent.mkdir(exist_ok=True)
place.rmdir()
"""
SLOW = [pytest.param(target, marks=pytest.mark.slow) for target in ("coreai", "coreml", "executorch", "tensorrt")]


NAMED = re.compile("temporary/torchinductor_[^/]+")
"""An empty folder that torch makes when its exporter is imported (Source: torch 2.13, torch/_dynamo/package.py)."""


def assert_silent(found: Watched) -> None:
    left = [path for path in found.left if not NAMED.fullmatch(path)]
    assert (found.network, found.strays, left) == ((), (), [])


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return watched.build(tmp_path_factory.mktemp("watch"))


@needs_compiler
def test_the_watch_sees_what_is_planted(library: Path, tmp_path: Path) -> None:
    found = watched.run(library, [sys.executable, "-c", PLANTED], tmp_path / "room")
    assert found.done.returncode == 0, found.done.stderr
    assert "lookup telemetry.invalid" in found.network
    assert found.left == ("home/id",)
    assert found.strays == ("/tmp/slide-export-watched",)


@needs_compiler
def test_the_watch_sees_openvino_report_itself_where_nothing_is_turned_off(library: Path, tmp_path: Path) -> None:
    found = watched.run(library, [sys.executable, "-c", "import openvino"], tmp_path / "room")
    assert found.network, "openvino no longer reports: what is said of it in core/telemetry.py is out of date"


@needs_compiler
@pytest.mark.parametrize("target", ["onnx", "openvino", *SLOW])
def test_an_export_speaks_to_nobody_and_writes_nowhere_else(
    library: Path, checkpoint: Path, target: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "slide_export", checkpoint, "--target", target, "--out", "out"]
    found = watched.run(library, command, tmp_path / "room")
    assert found.done.returncode == 0, found.done.stderr
    assert_silent(found)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("target, precision", [("onnx", "int8"), ("openvino", "int8"), ("openvino", "w8")])
def test_quantizers_speak_to_nobody(library: Path, target: str, precision: str, tmp_path: Path) -> None:
    asked = ["--target", target, "--precision", precision, "--out", "out", "--images", DIGITS / "heldout"]
    found = watched.run(
        library, [sys.executable, "-m", "slide_export", DIGITS / "digits.pth", *asked], tmp_path / "room"
    )
    assert found.done.returncode == 0, found.done.stderr
    assert_silent(found)


@needs_compiler
@pytest.mark.slow
def test_processes_that_a_command_starts_speak_to_nobody(
    library: Path, onnx_bundle: Bundle, openvino_bundle: Bundle, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "slide_export", "bench", onnx_bundle.path, openvino_bundle.path, "--rounds", "1"]
    found = watched.run(library, command, tmp_path / "room")
    assert found.done.returncode == 0, found.done.stderr
    assert_silent(found)


@needs_compiler
def test_the_runner_on_a_device_speaks_to_nobody(library: Path, tmp_path: Path) -> None:
    runner = device_runner.write(tmp_path)
    questions = '{"missing": ["onnxruntime", "openvino"]}\n{"readiness": "openvino"}\n'
    found = watched.run(library, [sys.executable, runner, "surroundings"], tmp_path / "room", questions)
    assert found.done.stdout.splitlines()[0] == '{"missing": []}', found.done.stderr
    assert_silent(found)


def test_children_are_told_and_what_would_report_cannot_be_imported() -> None:
    code = "import slide_export, os, subprocess, sys; print(subprocess.check_output(['env'], text=True))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    ).stdout.splitlines()
    assert {f"{name}={value}" for name, value in telemetry.VARIABLES.items()} <= set(told)
    with pytest.raises(ImportError):
        __import__(telemetry.MODULES[0])
