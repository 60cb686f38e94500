"""What needs no converter of the script that runs in the converter's environment."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.litert import artifact, convert


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("wrapper.module.layers.0.attn", "layers.0.attn"),
        ("wrapper.module", ""),
        ("wrapper", ""),
        ("wrapper.modules.head", ""),
        ("", ""),
    ],
)
def test_a_scope_is_a_module_of_the_model_itself(path: str, scope: str) -> None:
    assert convert._inside(path, artifact.ROOT) == scope


def test_feeds_are_read_as_often_as_they_are_gone_through(tmp_path: Path) -> None:
    for batch in range(3):
        np.savez(tmp_path / f"{batch}.npz", images=np.full((1, 2), batch, np.float32))
    feeds = convert._Feeds([str(tmp_path / f"{batch}.npz") for batch in range(3)])
    assert len(feeds) == 3
    for _ in range(2):
        assert [int(feed["images"][0, 0]) for feed in feeds] == [0, 1, 2]


@pytest.mark.parametrize("do", ["convert", "quantize"])
def test_a_job_is_answered_by_the_function_that_it_names(
    do: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("convert", "quantize"):
        monkeypatch.setattr(convert, name, lambda job, name=name: {"done": name, "of": job["out"]})
    job, answer = tmp_path / "job.json", tmp_path / "answer.json"
    job.write_text(json.dumps({"do": do, "out": "model.tflite"}))
    convert.main(job, answer)
    assert json.loads(answer.read_text()) == {"done": do, "of": "model.tflite"}


def test_it_imports_nothing_that_its_environment_lacks() -> None:
    tree = ast.parse(artifact.SCRIPT.read_text())
    imported = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
