"""A script in a process of its own that ends with this one: a job and an answer, both JSON.

For what shares no interpreter with us: a converter whose packages clash with ours, or one that may end its process.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core import orphan, telemetry
from slide_export.core.errors import LoweringError
from slide_export.core.text import foreign

START = (
    "import runpy, sys; runpy.run_path(sys.argv[1])['end_with_parent'](int(sys.argv[2])); "
    "sys.argv = sys.argv[3:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Runs a script that knows nothing of us, and that the kernel ends with this process."""
REFUSED = "refused: "
"""What a script's last line begins with where it says itself, in a sentence, what it cannot do."""


def run(python: Path, script: Path, job: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Any:
    """What a script made of a job; larger things are files that the job names.

    The script is called with the job's file and a file for its answer. It has an empty home and a folder of its own
    for temporary files, and ends with this process.

    Raises:
        LoweringError: the script ended without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="slide-export-script-") as directory:
        asked, answer, home = (Path(directory) / name for name in ("job.json", "answer.json", "home"))
        asked.write_text(json.dumps(job, allow_nan=False))
        home.mkdir()
        own = {**telemetry.VARIABLES, "HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        done = subprocess.run(
            [python, "-I", "-c", START, orphan.__file__, str(os.getpid()), script, asked, answer],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=home,
            env={**os.environ, **own, "PYTHONDONTWRITEBYTECODE": "1", **(variables or {})},
        )  # fmt: skip
        if done.returncode or not answer.is_file():
            raise LoweringError(_why(done))
        return json.loads(answer.read_text())


def _why(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else "nothing said"
    if last.startswith(REFUSED):
        return foreign(last.removeprefix(REFUSED), 1000)
    ending = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"expected a model that the converter takes, it ended with {ending}: {foreign(last, 500)}"
