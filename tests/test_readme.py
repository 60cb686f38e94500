"""README's commands and its Python, run as a newcomer would."""

import os
import re
import subprocess
import sys
from pathlib import Path

from slide_export import pytest_plugin
from slide_export.cli.main import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_every_command_and_the_python_work_in_order(tmp_path: Path) -> None:
    (tmp_path / "deploy_examples").symlink_to(ROOT / "deploy_examples")
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) >= 6
    python = [f"{sys.executable} -c '{block}'" for block in blocks("python")]
    assert python
    for command in (*commands, *python):
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_option_that_readme_names_exists() -> None:
    known = {name for command in cli.commands.values() for option in command.params for name in option.opts}
    of_pytest = {pytest_plugin.OPTION}
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= known | of_pytest | {"--help"}


def test_every_make_target_that_readme_names_exists() -> None:
    targets = set(re.findall(r"`?make (\w+)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test", "slow", "bench"} <= targets
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
