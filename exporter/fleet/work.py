"""What a worker does: `run(order) -> answer`. Only JSON text crosses; nothing of a job stays on the worker.

{"key", "stage", "class", "spec", "outputs", "passing", "sources", "store", "timeout_s", "memory_gib"}
└─ an answer in the store?  ── yes ─> that
└─ versions as planned?     ── no ──> handed back
└─ a child process: inputs fetched, the stage run, limits kept
└─ outputs to the store, then the answer: whoever writes it first made it
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from slide_export.backends import optional, registry
from slide_export.core import files
from slide_export.core.errors import CRASHED, OUT_OF_TIME, UNWRITABLE, SlideExportError

from . import environment, simulated
from .children import Children
from .job import Answer
from .machine import DEVICE, alone, beside_others
from .stages import STAGES, TARGET, Stage
from .workspace import Workspace

NOT_HERE = 3
children = Children()
_encode = json.JSONEncoder(allow_nan=False).encode


def run(order: str) -> str:
    """Do one job and tell how it ended, whatever happens."""
    asked = json.loads(order)
    start = time.monotonic()
    try:
        answer = _answer(asked)
    except SlideExportError as error:
        answer = _refused(error)
    except OSError as error:
        said = files.write_refusal(error, None) or f"expected a machine that can run a job, the system says: {error}"
        answer = Answer("store", UNWRITABLE, said)
    told = answer.plain()
    if answer.ours and not answer.seconds:
        told["seconds"] = time.monotonic() - start
    told["worker"] = own_name()
    return _encode(told)


def parsed(answer: str) -> Mapping[str, Any]:
    """An answer of `run` as plain values."""
    found: Mapping[str, Any] = json.loads(answer)
    return found


def stop(keys: Collection[str]) -> None:
    """Kill the children of jobs."""
    children.stop(keys)


def close() -> None:
    """End every child; the next job starts anew."""
    global children
    children.close()
    children = Children()


def own_name() -> str:
    """What this worker is called: by its engine, or host and process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with contextlib.suppress(ValueError):  # this process is no worker of dask's
            return str(get_worker().name)
    return f"{socket.gethostname()}:{os.getpid()}"


def _answer(asked: Mapping[str, Any]) -> Answer:
    if _is_play(asked) and asked["store"] is None:
        return _of(simulated.perform(asked["key"], asked["spec"]["options"]), STAGES["simulated"])
    with Workspace(asked) as workspace:
        if (found := workspace.committed()) is not None:
            return found
        if said := environment.difference(asked["spec"]["environment"]):
            return Answer("mismatch", NOT_HERE, said)
        stage = STAGES[asked["stage"]]
        with alone(os.environ.get(DEVICE)) if stage.exclusive else beside_others():
            answer = _performed(asked, stage, workspace)
        return workspace.commit(answer, deterministic=stage.deterministic)


def _is_play(asked: Mapping[str, Any]) -> bool:
    """Whether a job is simulated in this process itself."""
    return asked["stage"].startswith("simulated") and not asked["spec"]["options"].get("child")


def _performed(asked: Mapping[str, Any], stage: Stage, workspace: Workspace) -> Answer:
    """How the stage's own work ended, with its output in the store."""
    options = asked["spec"]["options"]
    if _is_play(asked):
        return _of(simulated.perform(asked["key"], options), stage)
    order = {**asked, "place": str(workspace.place), "links": workspace.links()}
    end = children.run(
        asked["key"], "slide_export.fleet.child:perform", order, asked["timeout_s"], _imports(asked["class"])
    )
    if children.was_stopped(asked["key"]):
        return Answer("lost", OUT_OF_TIME, "it was stopped")
    if end.result is None:
        outcome = "timeout" if end.exit_code == OUT_OF_TIME else "crashed"
        return Answer(outcome, end.exit_code, end.message, seconds=end.seconds, peak_mib=end.peak_mib)  # type: ignore[arg-type]
    answer = replace(_of(end.result, stage), seconds=end.seconds, peak_mib=end.peak_mib)
    return workspace.uploaded(answer, end.result.get("output"), stage)


def _imports(worker_class: Mapping[str, float]) -> list[str]:
    """Modules that every job of a class needs, and that take long to import."""
    targets = [name.removeprefix(TARGET) for name in worker_class if name.startswith(TARGET)]
    return [module for target in targets for module in optional.slow_imports(registry.load(target))]


def _of(told: Mapping[str, Any], stage: Stage) -> Answer:
    """A stage's own words as an answer."""
    code = told["exit_code"]
    measures = {name: tuple(values) for name, values in told.get("measures", {}).items()}
    outcome = {0: "done", 1: "refused", NOT_HERE: "absent", UNWRITABLE: "store", CRASHED: "crashed"}.get(code, "failed")
    return Answer(
        outcome,  # type: ignore[arg-type]  # one of its words
        code,
        told["message"],
        kind=stage.kind,
        ephemeral=stage.ephemeral,
        result=told.get("result"),
        measures=measures,
    )


def _refused(error: SlideExportError) -> Answer:
    """A refusal of the worker itself: the store's failures are told apart from the job's own."""
    outcome = "store" if error.exit_code == UNWRITABLE else "absent" if error.exit_code == NOT_HERE else "failed"
    return Answer(outcome, error.exit_code, str(error))  # type: ignore[arg-type]  # one of its words
