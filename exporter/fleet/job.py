"""The values of a sweep: a job, an attempt at it, how that ended. All of them are JSON when they cross a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slide_export.core import typed_json

from .keys import canonical, key_of

State = Literal["planned", "running", "done", "refused", "failed", "poison", "blocked", "cancelled"]
Outcome = Literal["done", "refused", "failed", "crashed", "timeout", "died", "lost", "mismatch", "cancelled"]
Told = Literal[
    "done", "refused", "failed", "crashed", "timeout", "died", "lost", "mismatch", "cancelled", "store", "absent"
]
"""How an attempt says that it ended."""
STATES: tuple[State, ...] = ("planned", "running", "done", "refused", "failed", "poison", "blocked", "cancelled")
FINAL: frozenset[State] = frozenset({"done", "refused", "failed", "poison", "blocked", "cancelled"})
UNDONE: frozenset[State] = FINAL - {"done"}
"""Final states without an output."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work, the same whoever does it.

    Attributes:
        subject: what people call it: checkpoint, target and precision, shard.
        worker_class: what a worker has to offer, canonical JSON of numbers by name: {"memory_gib":4,"slot":1}.
        spec: options, inputs and environment, canonical JSON; the key is made of them.
        needs: keys of the jobs whose outputs it takes.
    """

    key: str
    stage: str
    subject: str
    worker_class: str
    spec: str
    needs: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        stage: str,
        version: int,
        subject: str,
        offer: Mapping[str, float],
        *,
        options: Mapping[str, Any],
        inputs: Mapping[str, Any],
        environment: Mapping[str, Any],
        needs: tuple[str, ...] = (),
    ) -> Job:
        """A job with its key."""
        asked, taken, here = canonical(options), canonical(inputs), canonical(environment)
        spec = f'{{"environment":{here},"inputs":{taken},"options":{asked}}}'
        key = key_of(stage, version, asked, taken, here)
        return cls(key, stage, subject, canonical(dict(offer)), spec, needs)


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt that is handed to an engine.

    Attributes:
        number: of the attempt, its row in the database: no two have the same.
        order: what `work.run` takes, JSON.
        avoid: workers that it is not to run on.
    """

    number: int
    key: str
    worker_class: str
    order: str
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt's end, as an engine tells it.

    Attributes:
        answer: what `work.run` returned, parsed; None where it returned nothing.
        died: the worker that died with it; None where none did. Without an answer and a death it was lost.
        message: what the engine said.
    """

    number: int
    key: str
    answer: Mapping[str, Any] | None = None
    died: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Answer:
    """What `work.run` tells of one attempt.

    Attributes:
        outcome: "store" where the artifact store failed, which is nobody's fault; "absent" where this worker lacks
            the target's runtime, and "mismatch" where its versions differ: another one may do it.
        output: sha256 of what was made, in the artifact store; None where nothing was.
        result: what the stage found, JSON.
        measures: numbers for the report, by name: value, low, high.
        ours: whether this attempt's commit was the first.
        differs: fields in which a second execution differs from the first although the stage is deterministic.
    """

    outcome: Told
    exit_code: int = 0
    message: str = ""
    output: str | None = None
    kind: str = ""
    bytes: int = 0
    ephemeral: bool = False
    result: Any = None
    measures: Mapping[str, tuple[float | None, float | None, float | None]] = field(default_factory=dict)
    seconds: float = 0.0
    peak_mib: float | None = None
    worker: str = ""
    ours: bool = True
    differs: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it: null for each number that is not finite."""
        found = dict(vars(self))
        for name in ("result", "measures"):
            found[name] = typed_json.finite(typed_json.plain(found[name]))
        return found

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Answer:
        """The answer that `plain` made this of, in this version of slide-export."""
        measures = {name: tuple(values) for name, values in told["measures"].items()}
        return cls(**{**told, "measures": measures, "differs": tuple(told["differs"])})
