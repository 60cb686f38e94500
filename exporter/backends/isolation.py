"""Environments of their own for packages that clash with ours: made, listed, removed, and run in.

    ~/.cache/slide-export/environments/          $XDG_CACHE_HOME is obeyed
        litert-0123456789abcdef/                 the target and a digest of all that it was made from
            bin/python, lib/ ...                 a virtual environment without pip
            environment.json                     what it was made from, for people

One is built in a hidden directory beside its place and renamed there once it is whole, so a killed install leaves
nothing that is taken for done. Packages come by our own pip, pinned, without what they ask for beside; those that both
sides must have alike are links to ours. Backends talk to it by files.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from slide_export.core import cache, files, hidden
from slide_export.core.errors import BackendUnavailable, RequestError, WriteError
from slide_export.core.progress import Progress, no_progress
from slide_export.core.text import foreign

from . import script
from .interface import IsolatedEnvironment

RECORD = "environment.json"
NAME = re.compile(r"(?P<target>\w+)-[0-9a-f]{16}")
PYTHON = Path("bin") / "python"


@dataclass(frozen=True)
class KeptEnvironment:
    """An environment in the cache.

    Attributes:
        bytes: of its own files; what it links is not counted.
        current: whether this installation uses it; others were made by another version or another Python.
    """

    target: str
    path: Path
    bytes: int
    current: bool


def command(target: str) -> str:
    """What a user runs to make the environment of a target."""
    return f"slide-export targets install {target}"


def root() -> Path:
    """Directory of all environments; it may not exist."""
    return cache.place("environments")


def installed(target: str, environment: IsolatedEnvironment) -> Path | None:
    """Directory of a whole environment from this lock, Python and borrowed packages; None where there is none."""
    place = _place(target, environment)
    whole = (place / RECORD).is_file() and (place / PYTHON).exists()
    return place if whole and all(link.exists() for link in _links(place, environment)) else None


def require(target: str, environment: IsolatedEnvironment) -> Path:
    """Directory of a whole environment.

    Raises:
        BackendUnavailable: it is not made.
    """
    found = installed(target, environment)
    if found is None:
        raise BackendUnavailable(
            f"expected the environment of its own that {target} is converted in, found it not installed: "
            f"{command(target)}"
        )
    return found


def install(target: str, environment: IsolatedEnvironment, step: Progress = no_progress) -> Path:
    """Make the environment of a target, or find it made; its directory.

    Raises:
        BackendUnavailable: there is no pip, or it cannot install what the lock says.
        WriteError: the cache cannot be written.
    """
    if (made := installed(target, environment)) is not None:
        return made
    if PathFinder.find_spec("pip") is None:  # setuptools' hook of imports warns where distutils is imported already
        raise BackendUnavailable(
            f"expected pip in this Python to install what {target} is converted with, found none: python -m ensurepip"
        )
    place = _place(target, environment)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with hidden.directory(place.parent) as scratch:
            room = scratch / "environment"
            with step(f"install what {target} is converted with, {_gib(environment.installed_mib)}"):
                _build(room, target, environment)
            if installed(target, environment) is None:  # another process may have been first
                if place.exists():  # its links lead nowhere any more
                    place.rename(scratch / "older")
                room.rename(place)
    except OSError as error:
        raise WriteError(files.write_refusal(error, place) or f"expected to write {place}: {error}") from error
    return place


def uninstall(target: str) -> tuple[KeptEnvironment, ...]:
    """Remove every environment of a target; those that were.

    Raises:
        WriteError: one cannot be removed.
    """
    found = tuple(one for one in kept() if one.target == target)
    if not found:
        return ()
    try:
        with hidden.directory(root()) as scratch:  # renamed first: what is half removed is never taken for whole
            for one in found:
                one.path.rename(scratch / one.path.name)
    except OSError as error:
        raise WriteError(files.write_refusal(error, root()) or f"expected to remove {target}'s: {error}") from error
    return found


def kept(current: Mapping[str, IsolatedEnvironment] | None = None) -> tuple[KeptEnvironment, ...]:
    """Every environment in the cache, by name.

    Args:
        current: what each target needs now.
    """
    try:
        found = sorted(path for path in root().iterdir() if NAME.fullmatch(path.name))
    except OSError:
        return ()
    needed = {_place(target, environment) for target, environment in (current or {}).items()}
    return tuple(KeptEnvironment(path.name.rpartition("-")[0], path, _size(path), path in needed) for path in found)


def run(place: Path, program: Path, job: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Any:
    """What a script made of a job in an environment; see `script.run`."""
    return script.run(place / PYTHON, program, job, variables)


def _build(room: Path, target: str, environment: IsolatedEnvironment) -> None:
    venv.EnvBuilder(symlinks=True, with_pip=False).create(room)
    pip = [sys.executable, "-m", "pip", "--python", str(room / PYTHON), "--disable-pip-version-check", "install"]
    asked = ["--quiet", "--no-input", "--no-deps", "--only-binary", ":all:", "--requirement", str(environment.lock)]
    done = subprocess.run([*pip, *asked], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        why = foreign(errors[0] if errors else "nothing said", 500)
        raise BackendUnavailable(
            f"expected pip to install what {target} is converted with, found exit code {done.returncode}: {why}"
        )
    for link, source in _links(room, environment).items():
        link.symlink_to(source)
    (room / RECORD).write_text(json.dumps(_made_from(environment), indent=2, allow_nan=False) + "\n")
    os.sync()  # thousands of files: a rename must not be on the disk before them


def _place(target: str, environment: IsolatedEnvironment) -> Path:
    told = json.dumps(_made_from(environment), sort_keys=True, allow_nan=False).encode()
    return root() / f"{target}-{hashlib.sha256(told).hexdigest()[:16]}"


def _made_from(environment: IsolatedEnvironment) -> dict[str, Any]:
    """All that decides what an environment holds."""
    return {
        "lock": files.sha256_of(environment.lock),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "machine": platform.machine(),
        "borrowed": {name: _borrowed(name) for name in environment.borrowed},
    }


def _borrowed(name: str) -> list[str]:
    """Version of one of our distributions and the directory that it is in."""
    found = importlib.metadata.distribution(name)
    return [found.version, str(Path(str(found.locate_file(""))).resolve())]


def _links(place: Path, environment: IsolatedEnvironment) -> dict[Path, Path]:
    """Links of an environment and what each leads to: all that the borrowed distributions have in site-packages.

    Raises:
        BackendUnavailable: a distribution does not tell its files, or one is edited in place.
    """
    site = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    found: dict[Path, Path] = {}
    for name in environment.borrowed:
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "/", "__pycache__")}
        if not tops:
            raise BackendUnavailable(f"expected {name} as pip installs it, found one that does not tell its files")
        found |= {site / top: Path(str(distribution.locate_file(top))) for top in sorted(tops)}
    return found


def _size(path: Path) -> int:
    """Bytes of the files below a directory, links not followed."""
    total = 0
    for directory, _, names in os.walk(path):
        total += sum((Path(directory) / name).lstat().st_size for name in names)
    return total


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f} GiB"


def refuse_none(target: str, environment: IsolatedEnvironment | None) -> IsolatedEnvironment:
    """The environment of a target that needs one.

    Raises:
        RequestError: it needs none.
    """
    if environment is None:
        raise RequestError(f"expected a target with an environment of its own, found {target}, which needs none")
    return environment


def free_mib(path: Path) -> int:
    """Free space where a directory is or would be."""
    above = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(above).free >> 20
