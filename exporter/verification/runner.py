"""Process that runs artifacts for a proof, so that one that crashes its runtime ends this process and not the proof's.

Questions come on standard input, answers go to standard output, one JSON object a line:

    {"open": {"target", "path", "graph", "settings"}}      {"evaluator", "census": {"stored", "computed", ...}}
    {"look": the same}                                     {"values": [[name, scope, takes, output_of], ...]}
    {"show": [names of values]}                            {"evaluator"}
    {"plain": true}                                        {"plain": what a load without settings computes, "loaded"}
    {"orders": [names of rounds]}                          {"evaluator"}
    {"run": inputs.npz, "outputs": outputs.npz}            {"outputs": [names]}
    until the end of input

`open` and `look` replace the artifact before, `show`, `plain` and `orders` load the same one once more; `run` with
"plain": true or "orders": true asks that one. A refusal is {"error", "kind"}; the process goes on after it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import Backend, Session
from slide_export.core import typed_json
from slide_export.core.errors import BundleError, SlideExportError
from slide_export.core.text import foreign
from slide_export.proof import plain_load
from slide_export.proof.orders_inside import OrdersInside
from slide_export.proof.plain_load import OpenedPlain
from slide_export.proof.session import ArtifactValues, look_inside, open_session

SAID = 300  # letters of a runtime's own message


class Runner:
    """The artifact that was opened last."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._session: Session | None = None
        self._plain: OpenedPlain | None = None
        self._orders: Session | None = None
        self._look_again: Callable[[], ArtifactValues] | None = None
        self._inside: ArtifactValues | None = None
        self._load: Callable[[], OpenedPlain | None] = lambda: None

    def tell(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question."""
        if "open" in question:
            return self._open(question["open"])
        if "look" in question:
            return self._look(question["look"])
        if "show" in question:
            return self._show(question["show"])
        if "run" in question:
            return _computed(self._asked(question), question["run"], question["outputs"])
        if "orders" in question:
            return self._look_for_orders(question["orders"])
        return self._load_plainly()

    def _open(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Count what an artifact stores and computes, and load it."""
        backend, path, graph = self._begin(job)
        census = optional.dtype_stats(backend, path, job["settings"])
        self._session = open_session(backend, path, graph, job["settings"])
        self._look_again = lambda: look_inside(backend, path, graph, job["settings"])
        self._load = lambda: plain_load.load(backend, path, job["settings"], census.computed)
        return {"evaluator": self._session.evaluator, "census": asdict(census)}

    def _look(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The values that an artifact computes."""
        backend, path, graph = self._begin(job)
        self._inside = look_inside(backend, path, graph, job["settings"])
        return {"values": [[one.name, one.scope, one.takes, one.output_of] for one in self._inside.values]}

    def _show(self, names: Sequence[str]) -> dict[str, Any]:
        """Load it with these values beside its outputs."""
        if self._inside is None:
            raise BundleError("expected an artifact that was looked into, found none")
        self._session = self._inside.open(names)
        return {"evaluator": self._session.evaluator}

    def _load_plainly(self) -> dict[str, Any]:
        """Load it once more without settings, where that computes otherwise."""
        self._plain = self._load()
        told = None if self._plain is None else typed_json.plain(self._plain.told)
        return {"plain": told, "loaded": self._plain is not None and self._plain.session is not None}

    def _look_for_orders(self, rounds: Sequence[str]) -> dict[str, Any]:
        """Load it once more to give the orders that it sorts by."""
        if self._look_again is None:
            raise BundleError("expected an opened artifact, found none")
        self._orders = OrdersInside(self._look_again(), rounds)
        return {"evaluator": self._orders.evaluator}

    def _asked(self, question: Mapping[str, Any]) -> Session | None:
        if question.get("orders"):
            return self._orders
        if question.get("plain"):
            return None if self._plain is None else self._plain.session
        return self._session

    def _begin(self, job: Mapping[str, Any]) -> tuple[Backend, Path, Path | None]:
        self._forget()  # the memory of the one before is free before the next one takes some
        return backends.load(job["target"]), Path(job["path"]), Path(job["graph"]) if job["graph"] else None


def _computed(session: Session | None, inputs: str, outputs: str) -> dict[str, Any]:
    """Compute the outputs of one batch, from a file of arrays to another."""
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
        return runner.tell(question)
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
