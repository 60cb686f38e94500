"""Process that runs artifacts for a proof, so that one that crashes its runtime ends this process and not the proof's.

Questions come on standard input, answers go to standard output, one JSON object a line:

    {"open": {"target", "path", "graph", "settings"}}      {"evaluator", "census": {"stored", "computed", ...}}
    {"run": inputs.npz, "outputs": outputs.npz}            {"outputs": [names]}
    {"orders": [rounds]}                                   {"evaluator"}
    {"order": inputs.npz, "outputs": outputs.npz}          {"outputs": [rounds]}
    until the end of input

`orders` looks into the opened artifact for the orders that it sorts by, `order` gives them for a batch. `open`
replaces the artifact before. A refusal is {"error", "kind"}; the process goes on after it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Session
from slide_export.core import typed_json
from slide_export.core.errors import BundleError, SlideExportError
from slide_export.core.text import foreign
from slide_export.proof.orders_inside import OrdersInside
from slide_export.proof.session import look_inside, open_session

SAID = 300  # letters of a runtime's own message


class Runner:
    """The artifact that was opened last."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._ordering: Session | None = None
        self._job: Mapping[str, Any] = {}

    def open(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Count what an artifact stores and computes, and load it."""
        self._session = self._ordering = None  # their memory is free before the next one takes some
        backend, path, graph = backends.load(job["target"]), Path(job["path"]), job["graph"]
        self._job = job
        census = optional.dtype_stats(backend, path, job["settings"])
        self._session = open_session(backend, path, Path(graph) if graph else None, job["settings"])
        return {"evaluator": self._session.evaluator, "census": asdict(census)}

    def look_for_orders(self, rounds: Sequence[str]) -> dict[str, Any]:
        """Open the artifact that was opened last once more, to give the orders that it sorts by."""
        job = self._job
        if not job:
            raise BundleError("expected an opened artifact, found none")
        graph = Path(job["graph"]) if job["graph"] else None
        inside = look_inside(backends.load(job["target"]), Path(job["path"]), graph, job["settings"])
        self._ordering = OrdersInside(inside, rounds)
        return {"evaluator": self._ordering.evaluator}

    def run(self, inputs: str, outputs: str) -> dict[str, Any]:
        """Compute the outputs of one batch, from a file of arrays to another."""
        return _computed(self._session, inputs, outputs)

    def order(self, inputs: str, outputs: str) -> dict[str, Any]:
        """Give the orders that one batch is sorted by, from a file of arrays to another."""
        return _computed(self._ordering, inputs, outputs)


def _computed(session: Session | None, inputs: str, outputs: str) -> dict[str, Any]:
    if session is None:
        raise BundleError("expected an opened artifact, found none")
    with np.load(inputs, allow_pickle=False) as given:
        feeds = {name: given[name] for name in given.files}
    found = {name: np.asarray(value) for name, value in session.run(feeds).items()}
    with Path(outputs).open("wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type]  # names are outputs', not savez's options
    return {"outputs": list(found)}


def answer(questions: TextIO, answers: TextIO) -> None:
    """Answer every line until the input ends."""
    runner = Runner()
    for line in questions:
        told = _told(runner, json.loads(line))
        print(typed_json.dumps(told), file=answers, flush=True)


def _told(runner: Runner, question: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if "open" in question:
            return runner.open(question["open"])
        if "orders" in question:
            return runner.look_for_orders(question["orders"])
        if "order" in question:
            return runner.order(question["order"], question["outputs"])
        return runner.run(question["run"], question["outputs"])
    except SlideExportError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # a runtime's own classes, or what its reader meets in a damaged file
        traceback.print_exc()
        said = f"{type(error).__name__}: {foreign(error, SAID)}"
        return {"error": f"expected an artifact that its runtime takes, it says {said}", "kind": BundleError.__name__}


if __name__ == "__main__":
    # Vendors' libraries print to standard output; the answers keep it for themselves.
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer(sys.stdin, to_parent)
