"""The Pythons of this machine that the package says it runs on."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

OLDEST, NEWEST = 11, 20  # minor versions; pyproject's requires-python has the first


def pythons() -> dict[str, Path]:
    """Minor version, "3.11", -> an interpreter of it, oldest first."""
    found: dict[str, Path] = {}
    for path in _candidates():
        version = _version(path)
        if version and int(version.partition(".")[2]) >= OLDEST:
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: int(item[0].partition(".")[2])))


def _candidates() -> Iterator[Path]:
    """Interpreters by name on the PATH, then those of pyenv and uv."""
    for minor in range(OLDEST, NEWEST + 1):
        if program := shutil.which(f"python3.{minor}"):
            yield Path(program)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for folder in (pyenv, uv):
        yield from sorted(folder.glob("*3.*/bin/python3"))


def _version(python: Path) -> str | None:
    """ "3.11" of a CPython that starts; a pyenv shim may stand for a version that is not installed."""
    say = "import sys, venv; print(sys.implementation.name, *sys.version_info[:2], sep='.')"
    try:
        done = subprocess.run([python, "-c", say], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"cpython\.(3\.\d+)\n", done.stdout)
    return match[1] if match and done.returncode == 0 else None
