"""A program run in an empty home under a watched resolver: what it looked up, connected to and wrote."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("watch.c")
DEVICES = ("/dev", "/proc")
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc, to build the watching library on Linux"
)


@dataclass(frozen=True)
class Watched:
    """What a program did beside its answer.

    Attributes:
        network: lookups and connections, as `watch.c` notes them.
        strays: files and folders that it wrote, or tried to, outside its own folder.
        left: what it left in its home and its folder for temporary files.
    """

    done: "subprocess.CompletedProcess[str]"
    network: tuple[str, ...]
    strays: tuple[str, ...]
    left: tuple[str, ...]


def build(directory: Path) -> Path:
    """The library, compiled."""
    path = directory / "watch.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", path, SOURCE, "-ldl"], check=True)
    return path


def run(library: Path, command: Sequence[str | Path], room: Path, standard_input: str = "") -> Watched:
    """Run a command in an empty folder `room`, which has its home, its temporary files and its working directory."""
    log, places = room / "log", {name: room / name for name in ("home", "temporary", "work")}
    for place in places.values():
        place.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "OMP_NUM_THREADS")}
    own = {"HOME": places["home"], "TMPDIR": places["temporary"], "LD_PRELOAD": library, "WATCH_LOG": log}
    variables = kept | {name: str(value) for name, value in own.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command,
        input=standard_input,
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        cwd=places["work"],
    )
    lines = log.read_text().splitlines() if log.exists() else []
    written = {line.partition(" ")[2] for line in lines if line.startswith("write ")}
    return Watched(
        done,
        tuple(line for line in lines if not line.startswith("write ")),
        tuple(sorted(path for path in written if not path.startswith((*DEVICES, str(room))))),
        tuple(
            sorted(str(path.relative_to(room)) for name in ("home", "temporary") for path in places[name].rglob("*"))
        ),
    )
