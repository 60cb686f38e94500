"""What a Markdown page asks its reader to run, and a runner of it, for README and the manual alike.

A fenced block of `console` holds commands behind `$ `, one of `python` a program; both are run, in the page's order and
in one directory, so that a later command finds what an earlier one exported. `<!-- slow -->` on the line before a block
leaves it to `make slow`. Blocks without a language are shown alone: output, and commands that need another machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from slide_export.backends import optional, registry
from slide_export.cli.main import run as cli
from tests import warm

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MANUAL = ROOT / "docs" / "manual"
TUTORIAL = MANUAL / "tutorial" / "first-export.md"
PAGES = tuple(sorted(MANUAL.rglob("*.md")))
TEXTS = (README, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES)
BLOCK = re.compile(r"(<!-- slow -->\n)?```(console|python)\n(.*?)```", flags=re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One command or one program of a page.

    Attributes:
        kind: "console" or "python".
        slow: whether it takes minutes.
    """

    kind: str
    text: str
    slow: bool

    def run_here(self, directory: Path) -> None:
        """Run it in this process, which has the imports, and expect success."""
        with contextlib.chdir(directory):
            if self.kind == "python":
                exec(compile(self.text, "a page", "exec"), {"__name__": "__main__"})
                return
            program, *words = shlex.split(self.text)
            assert program == "slide-export", f"{self.text}: run by a shell alone"
            assert cli(words) == self._ending(), self.text

    def _ending(self) -> int:
        """0; 3 where this processor lacks what the page says that the command needs."""
        bf16 = "--precision bf16" in self.text
        return 3 if bf16 and optional.precision_obstacle(registry.load("openvino"), "bf16") else 0

    def run_apart(self, directory: Path) -> None:
        """Run it as a reader would, in a shell, and expect success; what a command imports, it finds imported."""
        command = self.text
        if self.kind == "python":
            command = shlex.join(warm.command("-c", self.text))
        elif shlex.split(self.text)[0] == "slide-export":
            command = self.text.replace("slide-export", shlex.join(warm.command("-m", "slide_export")), 1)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, shell=True, cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{self.text}\n{done.stdout}\n{done.stderr}"


def steps(page: Path) -> tuple[Step, ...]:
    """What a page asks to run, in its order."""
    found: list[Step] = []
    for slow, kind, body in BLOCK.findall(page.read_text()):
        texts = [line.removeprefix("$ ") for line in body.splitlines()] if kind == "console" else [body]
        found += [Step(kind, text, bool(slow)) for text in texts]
    return tuple(found)


def checkout(directory: Path) -> Path:
    """A directory that looks like a checkout to a command that reads `deploy_examples`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "deploy_examples").symlink_to(ROOT / "deploy_examples")
    return directory


def run(page: Path, directory: Path, *, slow: bool = False) -> int:
    """Run a page's quick steps, or its slow ones, in a directory; the number of them."""
    chosen = [step for step in steps(page) if step.slow == slow]
    for step in chosen:
        step.run_here(directory)
    return len(chosen)
