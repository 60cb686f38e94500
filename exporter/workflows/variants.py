"""Variants -> one `BenchmarkResult` for each target: the paper's figure of speeds, measured on this machine.

Each variant is exported and proved, and all bundles of a target are measured in one session. Speed does not depend on
the weights, so a variant without a checkpoint gets random ones, and its runs say so.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from slide_export.benchmark.bundles import bench
from slide_export.benchmark.devices import Device
from slide_export.benchmark.devices.local import LOCAL_DEVICE
from slide_export.benchmark.plan import BenchOptions, BenchPlan, plan_of
from slide_export.benchmark.rounds import refuse_unrunnable
from slide_export.core.errors import GateError, RequestError
from slide_export.core.measurement import BenchmarkResult
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest
from slide_export.models import ALL, family_of

from .export import export

PROOF_IMAGES = 2  # the verdict of the proof is the same as with more, and the wait is short


@dataclass(frozen=True)
class CompareRequest:
    """Variants to compare, and how to measure them.

    Attributes:
        variants: names; the others are compared with the first.
        checkpoints: variant -> file of its trained weights; a variant that is not here gets random ones.
        input_size: rows and columns; None takes each variant's own.
    """

    variants: tuple[str, ...]
    targets: tuple[str, ...] = ("onnx",)
    precision: str = "fp32"
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    plan: BenchPlan = field(default_factory=BenchPlan)


class CompareOptions(BenchOptions, total=False):
    """The keywords of `slide_export.compare`: those of `BenchOptions` and of a `CompareRequest`.

    Attributes:
        checkpoints: variant -> file of its trained weights; the others get random ones, and are labelled so.
        precision: one that the targets have.
        input_size: rows and columns; each variant's own without it.
    """

    checkpoints: Mapping[str, Path | str]
    precision: str
    input_size: tuple[int, int] | None


def request_of(
    variants: Sequence[str], targets: Sequence[str], plan: BenchPlan | None, options: CompareOptions
) -> CompareRequest:
    """The request that keywords make.

    Raises:
        RequestError: a number of the plan is below 1.
        TypeError: a keyword that is none of `CompareOptions`.
    """
    given: dict[str, Any] = {**options}
    checkpoints = {name: Path(path) for name, path in given.pop("checkpoints", {}).items()}
    own = {name: given.pop(name) for name in ("precision", "input_size") if name in given}
    full_plan = plan_of(plan, cast(BenchOptions, given))
    return CompareRequest(tuple(variants), tuple(targets), checkpoints=checkpoints, plan=full_plan, **own)


def refuse_unfit(request: CompareRequest, device: Device = LOCAL_DEVICE) -> None:
    """Refuse a comparison that cannot be made on a device, before any work is done.

    Raises:
        RequestError: a variant or target does not exist or is named twice, or a checkpoint is of no named variant.
        BackendUnavailable: a target cannot be measured there.
    """
    known = [name for family in ALL for name in family.variants]
    for kind, names in (("variant", request.variants), ("target", request.targets)):
        if not names or len(set(names)) < len(names):
            raise RequestError(f"expected each {kind} once and at least one, found {', '.join(names) or 'none'}")
    for name in request.variants:
        if name not in known:
            raise RequestError(f"expected variants of {', '.join(known)}; found {name!r}")
    for name in request.checkpoints:
        if name not in request.variants:
            raise RequestError(f"expected checkpoints of {', '.join(request.variants)}; found one of {name!r}")
    for target in request.targets:
        refuse_unrunnable(target, request.precision, "the variants", request.plan, device)


def compare(
    request: CompareRequest, device: Device = LOCAL_DEVICE, step: Progress = no_progress
) -> tuple[BenchmarkResult, ...]:
    """One result for each target, each measured in a session of its own.

    Args:
        request: its plan's `device` is connected already, as `device`.
        device: where they are measured.

    Raises:
        GateError: an artifact is not its model; it is kept, and the message says where.
        SlideExportError: see `refuse_unfit`, `export.export` and `rounds.measure`.
    """
    refuse_unfit(request, device)
    with _scratch_directory() as scratch:
        files = {name: request.checkpoints.get(name) or _random(name, scratch) for name in request.variants}
        exported = {target: _export(request, target, files, scratch, step) for target in request.targets}
        results = tuple(bench(bundles, request.plan, device, step) for bundles in exported.values())
    return tuple(_label(result, request) for result in results)


@contextmanager
def _scratch_directory() -> Iterator[Path]:
    """Directory that is removed afterwards, unless a rejected artifact is to be looked at there."""
    scratch = Path(tempfile.mkdtemp(prefix="slide-export-compare-"))
    keep = False
    try:
        yield scratch
    except GateError:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)


def _random(variant: str, directory: Path) -> Path:
    """Checkpoint of the variant with random weights, the same ones every time."""
    family = family_of(variant, ALL)
    path = directory / f"{variant}.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({"model": family.build(family.variants[variant]).state_dict()}, path)
    return path


def _export(
    request: CompareRequest, target: str, files: Mapping[str, Path], directory: Path, step: Progress
) -> list[Path]:
    """Bundle of each variant for a target, proved."""
    bundles = []
    for variant, checkpoint in files.items():
        export_request = ExportRequest(
            checkpoint,
            target,
            request.precision,
            out=directory / "bundles",
            name=variant,
            variant=variant,
            input_size=request.input_size,
            image_count=PROOF_IMAGES,
            comparison=True,
        )
        with step(f"export {variant} to {target} and prove it"):
            bundles.append(export(export_request).path)
    return bundles


def _label(result: BenchmarkResult, request: CompareRequest) -> BenchmarkResult:
    """The result, with the runs labelled that had random weights."""
    runs = (
        run if run.subject.name in request.checkpoints else replace(run, subject=replace(run.subject, weights="random"))
        for run in result.runs
    )
    return replace(result, runs=tuple(runs))
