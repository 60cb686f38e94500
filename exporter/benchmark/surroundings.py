"""Answers about the machine that a measurement runs on, given there.

As with the worker, questions and answers are JSON objects, one a line:

    {"missing": ["numpy", ...]}                     {"missing": [...]}                    modules that do not import
    {"processors": null}                            {"processors": [...], "binds": true}
    {"readiness": "onnx"}                           {"unavailable_reason": null, "substitute_runtime": null}
    {"fingerprint": {"device", "threads", "targets"}}   {"environment": {...}, "steal_time": {...}}
    {"doubts": {...}}                               {"doubts": [...]}      of the steal time, at the end

Beside Python itself this file needs nothing, so that it can answer before a runtime is there.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from slide_export.backends import optional
from slide_export.backends import registry as backends

from . import environment


def _missing(modules: Sequence[str]) -> dict[str, Any]:
    return {"missing": [module for module in modules if not _imports(module)]}


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except (ImportError, OSError):  # OSError: a library of it is missing
        return False
    return True


def _processors(_: None) -> dict[str, Any]:
    return {"processors": environment.usable(), "binds": bool(environment.affinity(1))}


def _readiness(target: str) -> dict[str, Any]:
    backend = backends.load(target)
    return {
        "unavailable_reason": optional.unavailable_reason(backend),
        "substitute_runtime": optional.substitute_runtime(backend),
    }


def _fingerprint(given: Mapping[str, Any]) -> dict[str, Any]:
    steal_time = environment.StealTime.begin()
    return {"environment": asdict(environment.fingerprint(**given)), "steal_time": asdict(steal_time)}


def _doubts(steal_time: Mapping[str, float]) -> dict[str, Any]:
    return {"doubts": environment.StealTime(**steal_time).doubts()}


ANSWERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "missing": _missing,
    "processors": _processors,
    "readiness": _readiness,
    "fingerprint": _fingerprint,
    "doubts": _doubts,
}


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer to a question with its one argument: `{"readiness": "onnx"}`."""
    ((question, given),) = asked.items()
    return ANSWERS[question](given)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")  # as in `worker`: what a module prints on import is no answer
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), allow_nan=False), file=answers, flush=True)
