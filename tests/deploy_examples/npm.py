"""Examples for Node.js, installed as a user installs them: in a copy, once, however many pytest processes run."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy_examples.conftest import EXAMPLES


def installed(name: str, factory: pytest.TempPathFactory, *scripts: str) -> Path:
    """The folder of an example among copies of its neighbours, after `npm ci` and then some of its scripts."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    copies, done = shared / f"npm-{name}", shared / f"npm-{name}.done"
    with (shared / f"npm-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            unwanted = shutil.ignore_patterns("node_modules", "dist", "heldout", "__pycache__")
            shutil.copytree(EXAMPLES, copies, ignore=unwanted, dirs_exist_ok=True)
            for command in (["npm", "ci", "--prefer-offline"], *(["npm", "run", script] for script in scripts)):
                run = subprocess.run(command, cwd=copies / name, capture_output=True, text=True, check=False)
                assert run.returncode == 0, run.stdout + run.stderr
            done.touch()
    return copies / name
