"""One export to several targets, each in its own process: one that crashes or hangs does not touch the others."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slide_export.backends import registry as backends
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core import errors
from slide_export.core.errors import CRASHED, SlideExportError
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest

from .mixed import export

JOBS = 2  # much of an export runs on one core: two take little longer than one


@dataclass(frozen=True)
class TargetResult:
    """How one target's export ended.

    Attributes:
        exit_code: what that export alone would have ended with; 70 for a crash or a time-out.
        message: why, in one sentence; empty when it is done.
        seconds: from the start of its process to its end.
        bundle: what was made, None unless it is done.
    """

    target: str
    exit_code: int
    message: str
    seconds: float
    bundle: Bundle | None


def run_each(
    recipe: ExportRequest, targets: Sequence[str], timeout_s: float, jobs: int = JOBS, step: Progress = no_progress
) -> tuple[TargetResult, ...]:
    """Returns the result of a recipe for each target, in the order of `targets`.

    Args:
        timeout_s: a target that takes longer is stopped and reported.
        jobs: how many run at a time; they share the processor's cores.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def one(target: str) -> TargetResult:
        known = {name: value for name, value in recipe.options.items() if name in backends.load(target).OPTIONS}
        with step(f"export to {target}"):
            return _run_one(replace(recipe, target=target, options=known), timeout_s, threads)

    with ThreadPoolExecutor(jobs) as pool:
        return tuple(pool.map(one, targets))


def worst(results: Sequence[TargetResult]) -> int:
    """Returns the exit code that tells the most."""
    return errors.worst(result.exit_code for result in results)


def _run_one(recipe: ExportRequest, timeout_s: float, threads: int) -> TargetResult:
    start = time.monotonic()
    command = [sys.executable, "-m", "slide_export.workflows.all_targets"]
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    try:
        done = subprocess.run(
            command, input=pickle.dumps(recipe), capture_output=True, timeout=timeout_s, check=False, env=environment
        )
        code, message, path = _outcome(done)
    except subprocess.TimeoutExpired:
        code, message, path = CRASHED, f"expected an end within {timeout_s:g} s, found none: it was stopped", None
    made = bundle.read(path) if path else None
    return TargetResult(recipe.target, code, message, time.monotonic() - start, made)


def _outcome(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, Path | None]:
    """Returns exit code, message and bundle path of a worker, also of one that died."""
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing said"]
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        return CRASHED, f"its process crashed ({ended}): {last[0]}", None
    return answer["exit_code"], answer["message"], Path(answer["path"]) if answer["path"] else None


def _worker() -> None:
    """Runs the recipe on standard input; the last line of standard output says how it ended."""
    recipe: ExportRequest = pickle.loads(sys.stdin.buffer.read())
    try:
        made = export(recipe)
        answer = {"exit_code": 0, "message": "", "path": str(made.path)}
    except SlideExportError as error:
        answer = {"exit_code": error.exit_code, "message": str(error), "path": None}
    print(json.dumps(answer))


if __name__ == "__main__":
    _worker()
