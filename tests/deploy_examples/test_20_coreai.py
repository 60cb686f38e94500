"""Core AI's Python program on a digits bundle, run as a user runs it; Swift as its grammar sees it."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tree_sitter_swift

pytest.importorskip("coreai", reason="coreai-core is not installed")
pytest.importorskip("coreai_torch", reason="coreai-torch is not installed")

from slide_export.backends.coreai import bytecode
from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.digits import train
from slide_export.workflows import export as pipeline
from tests.deploy_examples import grammar

DIGITS = Path(train.__file__).parent
EXAMPLE = DIGITS.parent / "20_coreai"
PROGRAM, TWIN = EXAMPLE / "classify.py", EXAMPLE.parent / "01_onnxruntime_python" / "classify.py"
SWIFT = EXAMPLE / "ios" / "Classifier.swift"
VERSION = "1.0.0b3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = ExportRequest(
        DIGITS / "digits.pth",
        "coreai",
        out=tmp_path_factory.mktemp("coreai"),
        images=DIGITS / "heldout",
        image_count=2,
        interface=ModelIO(batch=1, labels=tuple((DIGITS / "labels.txt").read_text().split())),
    )
    return pipeline.export(asked).path


def classify(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


@pytest.mark.slow
def test_an_image_is_answered_after_the_proof(bundle: Path, seven: Path) -> None:
    done = classify(bundle, seven)
    assert done.returncode == 0, done.stderr
    first, _, answer, *_ = done.stdout.splitlines()
    assert first.startswith(f"✓ proved equal to the trained model on 2 images (Core AI {VERSION} on Linux)")
    assert answer.split()[1] == "seven"


@pytest.mark.slow
def test_another_model_is_not_equal_and_nothing_is_answered(bundle: Path, seven: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bundle, tmp_path / "altered"))
    program = copied / "model.aimodel" / "main.mlirb"
    data = program.read_bytes()
    largest = max((bytes(blob) for _, blob in bytecode.blobs(bytecode.read(program))), key=len)
    program.write_bytes(data.replace(largest, (np.frombuffer(largest, "<f4") * np.float32(1.1)).tobytes()))
    program.with_name("main.hash").write_bytes(hashlib.sha256(program.read_bytes()).digest())
    done = classify(copied, seven)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert done.stdout.startswith("✗ NOT equal to the trained model")


@pytest.mark.slow
def test_what_is_no_artifact_is_refused(bundle: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bundle, tmp_path / "broken"))
    (copied / "model.aimodel" / "main.mlirb").write_bytes(b"nothing")
    done = classify(copied, "--check")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: expected an asset of Core AI, ")


@pytest.mark.slow
def test_a_missing_runtime_is_told(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "coreai.py").write_text("raise ModuleNotFoundError('No module named coreai')")
    done = classify(bundle, "--check", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert "pip install -r requirements.txt" in done.stderr


def test_it_differs_from_the_program_of_onnx_runtime_in_the_runtime_alone() -> None:
    ours, theirs = (
        {node.name: ast.dump(node) for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in (PROGRAM, TWIN)
    )
    assert {name for name in ours if ours[name] != theirs.get(name)} == {"open_session"}
    assert ours.keys() == theirs.keys()


def test_the_program_for_a_device_is_swift() -> None:
    root = grammar.parse(SWIFT.read_bytes(), tree_sitter_swift)
    assert grammar.faults(root) == []
    mutated = [grammar.faults(grammar.parse(text, tree_sitter_swift)) for text in grammar.mutations(root)]
    assert mutated
    assert all(mutated)


def test_versions_are_the_one_that_exports_and_the_readme_says_first_what_has_not_been_built() -> None:
    pinned = re.search(r'coreai-core==([\w.]+)"', (EXAMPLE.parents[1] / "pyproject.toml").read_text())
    assert pinned is not None
    assert pinned[1] == VERSION
    assert f"coreai-core=={VERSION}" in (EXAMPLE / "requirements.txt").read_text().split()
    assert f"coreai-core {VERSION}" in SWIFT.read_text()
    _, _, said = (EXAMPLE / "README.md").read_text().partition("\n\n")
    assert "has not been built or\nrun" in said.partition("\n\n")[0]
