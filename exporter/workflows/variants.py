"""Variants -> one `Result` a target: the paper's figure of speeds, drawn anew on the machine that runs this.

Each variant goes through the whole pipeline, proof included, and all bundles of a target are measured in one sitting.
Speed does not depend on the weights, so a variant without a checkpoint gets random ones, and its runs say so.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.devices import Device
from slide_export.benchmark.devices.local import LOCAL_DEVICE
from slide_export.core.errors import GateError, RequestError
from slide_export.core.measurement import BenchmarkResult
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest
from slide_export.models import ALL, family_of

from .export import export

IMAGES = 2  # for the proof; its verdict is the same as with more, and the wait is short


@dataclass(frozen=True)
class CompareRequest:
    """What is compared.

    Attributes:
        variants: names; the first is what the others are told beside.
        checkpoints: variant -> file of its trained weights; a variant that is not here gets random ones.
        input_size: rows and columns; None takes each variant's own.
    """

    variants: tuple[str, ...]
    targets: tuple[str, ...] = ("onnx",)
    precision: str = "fp32"
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None


def refuse_unfit(contest: CompareRequest, *, stand_ins: bool = False, place: Device = LOCAL_DEVICE) -> None:
    """Refuses a contest that cannot be held at a place, before any work is done.

    Raises:
        RequestError: a variant or target does not exist or is named twice, or a checkpoint is of no named variant.
        BackendUnavailable: a target cannot be measured there.
    """
    known = [name for family in ALL for name in family.variants]
    for kind, names in (("variant", contest.variants), ("target", contest.targets)):
        if not names or len(set(names)) < len(names):
            raise RequestError(f"expected each {kind} once and at least one, found {', '.join(names) or 'none'}")
    for name in contest.variants:
        if name not in known:
            raise RequestError(f"expected variants of {', '.join(known)}; found {name!r}")
    for name in contest.checkpoints:
        if name not in contest.variants:
            raise RequestError(f"expected checkpoints of {', '.join(contest.variants)}; found one of {name!r}")
    for target in contest.targets:
        latency.refuse_unrunnable(target, contest.precision, "the variants", stand_ins, place)


def compare(
    contest: CompareRequest,
    plan: Mapping[str, Any],
    batches: Sequence[int] = (1,),
    *,
    step: Progress = no_progress,
    stand_ins: bool = False,
    place: Device = LOCAL_DEVICE,
    **options: Any,
) -> tuple[BenchmarkResult, ...]:
    """Returns one result a target, each measured in a sitting of its own.

    Args:
        plan: of `latency.plan`: rounds, calls, threads.
        place: where they are measured.
        options: of `latency.measure`: profile, timeout_s.

    Raises:
        GateError: an artifact is not its model; it is kept, and the message says where.
        SlideExportError: see `refuse_unfit`, `export` and `latency.measure`.
    """
    refuse_unfit(contest, stand_ins=stand_ins, place=place)
    protocol = latency.plan(**plan, place=place)
    with _scratch() as scratch:
        files = {name: contest.checkpoints.get(name) or _random(name, scratch) for name in contest.variants}
        exported = {target: _export(contest, target, files, scratch, step) for target in contest.targets}
        results = tuple(
            benchmark.bench(bundles, protocol, batches, stand_ins=stand_ins, place=place, step=step, **options)
            for bundles in exported.values()
        )
    return tuple(_label(result, contest) for result in results)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yields a directory that is removed afterwards, unless a rejected artifact is to be looked at there."""
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
    """Returns a checkpoint of the variant with random weights, the same ones every time."""
    family = family_of(variant, ALL)
    path = directory / f"{variant}.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({"model": family.build(family.variants[variant]).state_dict()}, path)
    return path


def _export(
    contest: CompareRequest, target: str, files: Mapping[str, Path], directory: Path, step: Progress
) -> list[Path]:
    """Returns the bundle of each variant for a target."""
    bundles = []
    for variant, checkpoint in files.items():
        recipe = ExportRequest(
            checkpoint,
            target,
            contest.precision,
            out=directory / "bundles",
            name=variant,
            variant=variant,
            input_size=contest.input_size,
            image_count=IMAGES,
            comparison=True,
        )
        with step(f"export {variant} to {target} and prove it"):
            bundles.append(export(recipe).path)
    return bundles


def _label(result: BenchmarkResult, contest: CompareRequest) -> BenchmarkResult:
    """Returns the result with the runs named that had random weights."""
    runs = (
        run if run.subject.name in contest.checkpoints else replace(run, subject=replace(run.subject, weights="random"))
        for run in result.runs
    )
    return replace(result, runs=tuple(runs))
