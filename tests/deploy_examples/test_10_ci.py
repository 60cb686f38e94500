"""The workflow and the hook: their schemas, the commands in them, and the hook run by pre-commit itself."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from onnx import numpy_helper

from slide_export.cli.main import cli
from tests.deploy_examples.conftest import EXAMPLES

ROOT = EXAMPLES.parent
WORKFLOW = EXAMPLES / "10_ci" / ".github" / "workflows" / "parity.yml"
CONFIG = EXAMPLES / "10_ci" / ".pre-commit-config.yaml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
PROVED = (
    "exported/digits-onnx-fp32/manifest.json",
    "exported/digits-onnx-fp32/model.onnx",
    "exported/digits-onnx-fp32/golden.safetensors",
    "exported/digits-openvino-fp32/model.bin",
    "exported/digits-coreml-w8/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
    "exported/digits-tensorrt-fp32/model.plan.json",
    "exported/digits-onnx-int8/quantization.yaml",
    "checkpoint.pth",
    "weights/best.pt",
)
OTHERS = ("README.md", "train.py", "data/model.csv", "exported.md")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def python(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def accepted(words: list[str]) -> str:
    """The command that the command line takes these words for; click raises on any that it does not know."""
    program, verb, *rest = words
    assert program == "slide-export"
    return str(cli.commands[verb].make_context(verb, rest).info_name)


def test_the_workflow_is_one(tmp_path: Path) -> None:
    check = ("check_jsonschema", "--builtin-schema", "vendor.github-workflows")
    done = python(*check, WORKFLOW)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text().replace("runs-on:", "runs-at:"))
    assert python(*check, wrong).returncode == 1


def test_the_hook_and_its_use_are_what_pre_commit_takes() -> None:
    for verb, path in (("validate-manifest", HOOKS), ("validate-config", CONFIG)):
        done = python("pre_commit", verb, path)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout  # it prints warnings there


def test_the_commands_are_ones_that_slide_export_takes() -> None:
    (job,) = read(WORKFLOW)["jobs"].values()
    runs = [step["run"] for step in job["steps"] if step.get("run", "").startswith("slide-export ")]
    (hook,), (used,) = read(HOOKS), read(CONFIG)["repos"][0]["hooks"]
    assert used["id"] == hook["id"]
    commands = [shlex.split(run) for run in runs]
    commands += [shlex.split(hook["entry"]) + arguments for arguments in (hook["args"], used["args"])]
    assert [accepted(words) for words in commands] == ["verify"] * 3
    assert {"--junit", "--markdown", "--against"} <= set(commands[0])


def test_what_the_workflow_shows_is_what_it_writes() -> None:
    (job,) = read(WORKFLOW)["jobs"].values()
    text = WORKFLOW.read_text()
    written = re.findall(r"--(?:junit|markdown) (\S+)", text)
    assert written == ["parity.xml", "parity.md"]
    assert set(re.findall(r"hashFiles\('(\S+)'\)", text)) == set(written)
    (shown,) = (step["run"] for step in job["steps"] if "GITHUB_STEP_SUMMARY" in step.get("run", ""))
    assert shown == 'cat parity.md >> "$GITHUB_STEP_SUMMARY"'
    assert [step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", "")] == ["parity.xml"]


def test_changes_of_bundles_and_checkpoints_start_both() -> None:
    (hook,) = read(HOOKS)
    starts = read(WORKFLOW)[True]  # YAML 1.1 reads the key `on` as a truth value
    assert starts["push"]["paths"] == starts["pull_request"]["paths"]
    for path in PROVED:
        assert re.search(hook["files"], path), path
        assert any(fnmatch.fnmatch(path, pattern) for pattern in starts["push"]["paths"]), path
    for path in OTHERS:
        assert not re.search(hook["files"], path), path
        assert not any(fnmatch.fnmatch(path, pattern) for pattern in starts["push"]["paths"]), path


@pytest.mark.slow
def test_pre_commit_runs_the_hook_and_stops_an_altered_model(onnx_bundle: Path, tmp_path: Path) -> None:
    tool, team = tmp_path / "tool", tmp_path / "team"
    tool.mkdir()
    shutil.copy(HOOKS, tool)
    shutil.copytree(onnx_bundle, team / "exported" / "digits")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
    }

    def git(folder: Path, *arguments: str) -> str:
        named = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        done = subprocess.run(["git", *named, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(folder: Path) -> str:
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--no-verify", "--message", "all")
        return git(folder, "rev-parse", "HEAD")

    config = read(CONFIG)
    config["repos"][0] |= {"repo": str(tool), "rev": commit(tool)}
    config["repos"][0]["hooks"][0]["args"] = ["exported/*"]
    (team / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    commit(team)
    whole = python("pre_commit", "run", "--all-files", cwd=team, env=environment)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "Passed" in whole.stdout

    graph = onnx.load(team / "exported" / "digits" / "model.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name == "head.weight")
    weight.CopyFrom(numpy_helper.from_array(1.01 * numpy_helper.to_array(weight), weight.name))
    onnx.save(graph, team / "exported" / "digits" / "model.onnx")
    git(team, "add", "--all")
    altered = python("pre_commit", "run", cwd=team, env=environment)
    assert altered.returncode == 1
    assert "Failed" in altered.stdout
    assert "it was altered" in altered.stdout
