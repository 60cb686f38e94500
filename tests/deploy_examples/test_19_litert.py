"""LiteRT's Python program on the kept digits bundle, run as a user runs it; the Android class is parsed, not built."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter_kotlin

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.digits import train  # after the skip
from tests.deploy_examples import grammar

EXAMPLE = Path(train.__file__).parents[1] / "19_litert"
PROGRAM, TWIN = EXAMPLE / "classify.py", EXAMPLE.parent / "01_onnxruntime_python" / "classify.py"
BUNDLE = Path(__file__).parents[1] / "exporter" / "backends" / "litert" / "digits-litert-fp32"
FILES = grammar.sources(EXAMPLE, ".kt", ".kts")
VERSION = "2.3.0"


def classify(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def test_an_image_is_answered_after_the_proof(seven: Path) -> None:
    done = classify(BUNDLE, seven)
    assert done.returncode == 0, done.stderr
    first, _, answer, *_ = done.stdout.splitlines()
    assert first.startswith(f"✓ proved equal to the trained model on 8 images (LiteRT {VERSION} on CPU)")
    assert answer.split() == ["91.2%", "seven"]


def test_another_model_is_not_equal_and_nothing_is_answered(seven: Path, tmp_path: Path) -> None:
    from slide_export.backends.litert import flatbuffer

    copied = Path(shutil.copytree(BUNDLE, tmp_path / "altered"))
    model = flatbuffer.parsed((copied / "model.tflite").read_bytes())
    (bias,) = (one for one in model.subgraphs[0].tensors if one.name.startswith(b"head/") and len(one.shape) == 1)
    model.buffers[bias.buffer].data = model.buffers[bias.buffer].data[::-1]
    (copied / "model.tflite").write_bytes(flatbuffer.written(model))
    done = classify(copied, seven)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert done.stdout.startswith("✗ NOT equal to the trained model")


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(BUNDLE, tmp_path / "broken"))
    (copied / "model.tflite").write_bytes(b"nothing")
    done = classify(copied, "--check")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: expected a .tflite file, LiteRT says: ")


def test_a_missing_runtime_is_told(tmp_path: Path) -> None:
    (tmp_path / "ai_edge_litert.py").write_text("raise ModuleNotFoundError('No module named ai_edge_litert')")
    done = classify(BUNDLE, "--check", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert "pip install -r requirements.txt" in done.stderr


def test_it_differs_from_the_program_of_onnx_runtime_in_the_runtime_alone() -> None:
    ours, theirs = (
        {node.name: ast.dump(node) for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in (PROGRAM, TWIN)
    )
    assert {name for name in ours if ours[name] != theirs.get(name)} == {"open_session"}
    assert ours.keys() == theirs.keys()


def test_versions_are_the_one_that_bundles_are_proved_with() -> None:
    assert f"ai-edge-litert=={VERSION}" in (EXAMPLE / "requirements.txt").read_text().split()
    assert f'"com.google.ai.edge.litert:litert:{VERSION}"' in (EXAMPLE / "android" / "build.gradle.kts").read_text()
    assert f'"ai-edge-litert": "{VERSION}"' in (BUNDLE / "manifest.json").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_kotlin(file: Path) -> None:
    root = grammar.parse(file.read_bytes(), tree_sitter_kotlin)
    assert grammar.faults(root) == []
    mutated = [grammar.faults(grammar.parse(text, tree_sitter_kotlin)) for text in grammar.mutations(root)]
    assert mutated
    assert all(mutated)
