"""The artifacts of a plan -> its jobs, each after those that it needs.

prepare ── export ┬─ verify
├─ evaluate (a shard each) ── merge
└─ bench (all of one sitting)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from slide_export.backends import registry
from slide_export.core import typed_json
from slide_export.core.precision import PRECISIONS

from . import environment
from .axes import Cell
from .job import Job
from .keys import sha256_of
from .plan import SweepPlan
from .sources import Source
from .stages import STAGES, TARGET

PROTOCOL = ("batch", "rounds", "calls", "threads", "sitting", "timeout_s")
ALL = "all checkpoints"


@dataclass
class Planner:
    """Make the jobs of a plan.

    Attributes:
        images: of proof and calibration; None takes the photographs that come with slide-export.
        evaluation: what accuracy is measured on; None measures none.
        most_gib: memory that a worker has at most, where that is known: a stage's own estimate is not above it.
        varied: names of options that tell artifacts apart.
    """

    plan: SweepPlan
    images: Source | None
    evaluation: Source | None = None
    most_gib: float | None = None
    varied: Sequence[str] = ()
    _prepared: dict[str, Job] = field(default_factory=dict)

    def jobs(self, cells: Sequence[Cell]) -> Iterator[Job]:
        """Every job of the plan's artifacts."""
        every: list[tuple[Cell, Job]] = []
        for checkpoint, group in itertools.groupby(cells, key=lambda cell: cell.checkpoint):
            exports: list[tuple[Cell, Job]] = []
            for cell in group:
                prepared = self._prepare(cell)
                if prepared.key not in self._prepared:
                    self._prepared[prepared.key] = prepared
                    yield prepared
                export = self._export(cell, prepared)
                exports.append((cell, export))
                yield export
                yield from self._verify(cell, export)
                yield from self._accuracy(cell, prepared, export)
            every += exports
            yield from self._bench(checkpoint, exports, together=False)
        yield from self._bench(ALL, every, together=True)

    def offer(self, stage: str, target: str = "", on: Mapping[str, Any] | None = None) -> dict[str, float]:
        """What a job takes of its worker: labels with a value as "board:pi5"."""
        needs = self.plan.needs.get(stage)
        found: dict[str, float] = {"slot": 1.0 if needs is None else needs.slot}
        memory_gib = STAGES[stage].memory_gib
        if needs is not None and needs.memory_gib is not None:
            memory_gib = needs.memory_gib
        elif self.most_gib is not None:
            memory_gib = min(memory_gib, self.most_gib)
        if memory_gib:
            found["memory_gib"] = memory_gib
        if target and STAGES[stage].of_target:
            found[f"{TARGET}{target}"] = 1.0
        for name, value in (on or {}).items():
            found |= {f"{name}:{value}": 1.0} if isinstance(value, str) else {name: float(value)}
        return found

    def _images(self) -> dict[str, str]:
        return {} if self.images is None else {"images": self.images.sha256}

    def _pins(self, target: str = "") -> dict[str, str]:
        """What the plan pins of artifacts of a target, or of what all of them come from, as one hash."""
        others = set(registry.names()) - {target}
        pinned = {name: value for name, value in self.plan.pins.items() if name not in others}
        return {"pins": sha256_of(pinned)} if pinned else {}

    def _prepare(self, cell: Cell) -> Job:
        return Job.of(
            "prepare",
            STAGES["prepare"].version,
            cell.checkpoint,
            self.offer("prepare"),
            options=cell.prepared_with(),
            inputs={"checkpoint": cell.source.sha256, **self._images(), **self._pins()},
            environment=_packages(),
        )

    def _export(self, cell: Cell, prepared: Job) -> Job:
        mixed = cell.precision == "mixed"
        quantized, fed = (mixed or value for value in _quantized(cell.precision))
        return Job.of(
            "export",
            STAGES["export"].version,
            cell.subject(self.varied),
            self.offer("export", cell.target),
            options={"target": cell.target, "export": dict(cell.options)},
            inputs={"prepared": prepared.key, **(self._images() if fed else {}), **self._pins(cell.target)},
            environment=_of_target(cell.target, quantized),
            needs=(prepared.key,),
        )

    def _accuracy(self, cell: Cell, prepared: Job, export: Job) -> Iterator[Job]:
        """Shards of the evaluation, and what puts them together; the trained model's answers once a checkpoint."""
        part = self.plan.evaluate
        if part is None or self.evaluation is None:
            return
        shards = max(1, -(-len(self.evaluation.files or (None,)) // part.shard_images))
        cut = {"shard_images": part.shard_images, "shards": shards}
        shared = {"prepared": prepared.key, "evaluation": self.evaluation.sha256}
        counts = []
        for shard in range(shards):
            named, options = f"{shard + 1} of {shards}", {**cut, "shard": shard}
            reference = Job.of(
                "reference", STAGES["reference"].version, f"{cell.checkpoint} {named}", self.offer("reference"),
                options=options, inputs=shared, environment=_packages(), needs=(prepared.key,),
            )  # fmt: skip
            if reference.key not in self._prepared:
                self._prepared[reference.key] = reference
                yield reference
            evaluate = Job.of(
                "evaluate", STAGES["evaluate"].version, f"{cell.subject(self.varied)} {named}",
                self.offer("evaluate", cell.target), options=options,
                inputs={**shared, "bundle": export.key, "reference": reference.key},
                environment=_of_target(cell.target, False), needs=(prepared.key, export.key, reference.key),
            )  # fmt: skip
            counts.append(evaluate)
            yield evaluate
        keys = tuple(one.key for one in counts)
        yield Job.of(
            "merge", STAGES["merge"].version, cell.subject(self.varied), self.offer("merge"),
            options={"max_drop": part.max_drop, "min_sqnr_db": part.min_sqnr_db},
            inputs={**shared, "counts": list(keys)}, environment=_packages(), needs=(prepared.key, *keys),
        )  # fmt: skip

    def _bench(self, checkpoint: str, exports: Sequence[tuple[Cell, Job]], *, together: bool) -> Iterator[Job]:
        """The sittings of one checkpoint or all: the bundles beside each other, one sitting a place."""
        for part in self.plan.bench:
            if part.together != together:
                continue
            taken = [
                job.key
                for cell, job in exports
                if (not part.targets or cell.target in part.targets)
                and (not part.precisions or cell.precision in part.precisions)
            ]
            if not taken:
                continue
            protocol = {name: value for name, value in typed_json.plain(part).items() if name in PROTOCOL}
            place = " ".join(f"{name}={value}" for name, value in part.on.items())
            yield Job.of(
                "bench", STAGES["bench"].version, f"{checkpoint} {place}".strip(), self.offer("bench", on=part.on),
                options={**protocol, "on": dict(part.on)}, inputs={"bundles": taken}, environment=_packages(),
                needs=tuple(taken),
            )  # fmt: skip

    def _verify(self, cell: Cell, export: Job) -> Iterator[Job]:
        for part in self.plan.verify:
            if part.targets and cell.target not in part.targets:
                continue
            yield Job.of(
                "verify",
                STAGES["verify"].version,
                cell.subject(self.varied),
                self.offer("verify", cell.target, part.on),
                options={"on": dict(part.on)},
                inputs={"bundle": export.key},
                environment=_packages(),
                needs=(export.key,),
            )


def _quantized(precision: str) -> tuple[bool, bool]:
    """Whether a precision is of 8 bits, and whether it is calibrated on images."""
    found = PRECISIONS.get(precision)
    return (False, False) if found is None else (found.quantized, found.calibrated)


@cache
def _packages() -> dict[str, Any]:
    return environment.of_packages()


@cache
def _of_target(target: str, quantized: bool) -> dict[str, Any]:
    return environment.of_target(target, quantized=quantized)
