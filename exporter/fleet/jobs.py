"""The artifacts of a plan -> its jobs, each after those that it needs.

prepare ── export ┬─ verify
├─ evaluate (a shard each) ── merge
└─ bench (all of one sitting)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from slide_export.core.precision import PRECISIONS

from . import environment
from .axes import Cell
from .job import Job
from .plan import SweepPlan
from .sources import Source
from .stages import STAGES

TARGET = "target:"
"""Before the name of a target in what a worker offers: it is installed there."""


@dataclass
class Planner:
    """Make the jobs of a plan.

    Attributes:
        images: of proof and calibration; None takes the photographs that come with slide-export.
        most_gib: memory that a worker has at most, where that is known: a stage's own estimate is not above it.
        varied: names of options that tell artifacts apart.
    """

    plan: SweepPlan
    images: Source | None
    most_gib: float | None = None
    varied: Sequence[str] = ()
    _prepared: dict[str, Job] = field(default_factory=dict)

    def jobs(self, cells: Sequence[Cell]) -> Iterator[Job]:
        """Every job of the plan's artifacts."""
        for cell in cells:
            prepared = self._prepare(cell)
            if prepared.key not in self._prepared:
                self._prepared[prepared.key] = prepared
                yield prepared
            export = self._export(cell, prepared)
            yield export
            yield from self._verify(cell, export)

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

    def _prepare(self, cell: Cell) -> Job:
        return Job.of(
            "prepare",
            STAGES["prepare"].version,
            cell.checkpoint,
            self.offer("prepare"),
            options=cell.prepared_with(),
            inputs={"checkpoint": cell.source.sha256, **self._images()},
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
            inputs={"prepared": prepared.key, **(self._images() if fed else {})},
            environment=_of_target(cell.target, quantized),
            needs=(prepared.key,),
        )

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
