"""The stage that measures speed: the bundles of one sitting, in interleaved rounds, alone on their machine.

in/bundles/0 ...    -> bench    a result of `bench`, and which runs are of which artifact
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from slide_export.backends import optional, registry
from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark import result_file
from slide_export.benchmark.devices import connect
from slide_export.benchmark.plan import THIS_MACHINE, BenchOptions, plan_of
from slide_export.bundle import store
from slide_export.core import typed_json
from slide_export.core.errors import BackendUnavailable
from slide_export.core.measurement import BenchmarkResult

from . import strangers
from .exporting import INPUT
from .machine import DEVICE

PROTOCOL = ("rounds", "calls", "threads")


def bench_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what there is of a sitting's bundles, here or on the board that this worker is the host of."""
    options = order["spec"]["options"]
    device = os.environ.get(DEVICE) or THIS_MACHINE
    keys = order["spec"]["inputs"]["bundles"]
    found = {key: place for number, key in enumerate(keys) if (place := INPUT / "bundles" / str(number)).is_dir()}
    measured = {key: place for key, place in found.items() if device != THIS_MACHINE or _runs_here(place)}
    if not measured:
        raise BackendUnavailable(
            f"expected a worker on which one of {len(found)} bundles runs natively, found none of their runtimes"
        )
    asked = {name: options[name] for name in PROTOCOL if options[name] is not None}
    asked |= {"batches": (options["batch"],), "device": device, "timeout_s": options["timeout_s"]}
    plan = plan_of(None, cast("BenchOptions", asked))
    before, start = strangers.running(), time.monotonic()
    with connect(plan.device) as opened:
        result = benchmark.bench(list(measured.values()), plan, opened)
    if device == THIS_MACHINE:
        result = _marked(result, strangers.disturbances(before, strangers.running(), time.monotonic() - start))
    runs = list(zip(measured, result.runs, strict=True))
    p50 = {f"p50_ms {key}": (run.p50_ms.value, run.p50_ms.low, run.p50_ms.high) for key, run in runs}
    told = {"exports": list(measured), "result": typed_json.parse(result_file.to_json(result))}
    return {"exit_code": 0, "message": "", "result": told, "measures": p50}


def _marked(result: BenchmarkResult, doubts: tuple[str, ...]) -> BenchmarkResult:
    """A result whose environment says what else was not quiet; the sitting is kept."""
    return replace(result, environment=replace(result.environment, warnings=(*result.environment.warnings, *doubts)))


def _runs_here(place: Path) -> bool:
    """Whether a bundle's own runtime runs on this machine: an evaluator's time tells nothing."""
    backend = registry.load(store.read(place).manifest.target)
    return not optional.unavailable_reason(backend) and not optional.substitute_runtime(backend)
