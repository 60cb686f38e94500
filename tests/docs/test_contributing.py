"""CONTRIBUTING.md's examples, applied to a copy of the tree: the contract fails before each step and passes after all.

A block has a title, the file that it is about. One of `python` is the whole file, one of `diff` the lines around a
change: ` ` stays, `-` goes, `+` comes. The line "The contract:" before them holds the command.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

EXAMPLE = re.compile(r"<details><summary>Example: (.*?)</summary>(.*?)</details>", re.DOTALL)
CONTRACT = re.compile(r"The contract: `\.venv/bin/pytest (.*?)`")
STEP = re.compile(r'```(python|diff) title="(.*?)"\n(.*?)```', re.DOTALL)
LEFT_OUT = shutil.ignore_patterns(".*", "build", "exported", "*.egg-info", "__pycache__")


@dataclass(frozen=True)
class Step:
    """One block of an example."""

    kind: str
    path: str
    text: str

    def apply(self, root: Path) -> None:
        """Write the file, or change the one place of it that has the block's lines."""
        file = root / self.path
        if self.kind == "python":
            assert not file.exists()
            file.write_text(self.text)
            return
        lines = self.text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        content = file.read_text()
        assert content.count(before) == 1, f"{self.path} has these lines {content.count(before)} times:\n{before}"
        file.write_text(content.replace(before, after))


@dataclass(frozen=True)
class Example:
    """What a section shows."""

    name: str
    contract: tuple[str, ...]
    steps: tuple[Step, ...]


def examples() -> list[Example]:
    found = EXAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text())
    return [
        Example(name, tuple(shlex.split(CONTRACT.findall(text)[0])), tuple(Step(*step) for step in STEP.findall(text)))
        for name, text in found
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the repository whose packages are found under their names, as after an installation."""
    copy, package = tmp_path / "copy", tmp_path / "site" / "slide_export"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    package.mkdir(parents=True)
    digits = copy / "deploy_examples" / "00_digits"
    inside = {"models": copy / "models", "calibration": copy / "calibration", "digits": digits}
    for name, path in {**{path.name: path for path in (copy / "exporter").iterdir()}, **inside}.items():
        (package / name).symlink_to(path)
    return copy


def passes(example: Example, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the contract in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *example.contract]
    environment = {**os.environ, "PYTHONPATH": str(tree.parent / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)


def test_every_kind_of_addition_has_an_example() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sections = re.findall(r"^## Add an? (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert [name for name, body in sections if EXAMPLE.search(body)] == ["backend", "family", "form", "pass", "task"]
    assert all(example.steps for example in examples())


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_contract_fails_before_each_step_and_passes_after_the_last(example: Example, tree: Path) -> None:
    for step in example.steps:
        assert passes(example, tree).returncode != 0, f"before {step.path}"
        step.apply(tree)
    done = passes(example, tree)
    assert done.returncode == 0, done.stdout + done.stderr
