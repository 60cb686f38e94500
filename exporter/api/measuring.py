"""Verbs that measure bundles, and write what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from slide_export.benchmark.plan import BenchOptions, BenchPlan, plan_of
from slide_export.core.errors import RequestError

if TYPE_CHECKING:
    from slide_export.benchmark.recommend import Recommendation
    from slide_export.bundle.store import Bundle
    from slide_export.core.measurement import BenchmarkResult
    from slide_export.core.progress import Progress
    from slide_export.workflows.variants import CompareOptions


def bench(
    bundles: Sequence[Path | str | Bundle],
    plan: BenchPlan | None = None,
    *,
    step: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> BenchmarkResult:
    """Measure the latency of bundles in interleaved rounds, and compare them.

    Args:
        bundles: directories that `export` wrote, or bundles that were read already.
        plan: how to measure, and where; a plan with the defaults of `BenchPlan` without it.
        step: told of each stage.
        options: see `BenchOptions`; each takes the place of a field of the plan.

    Raises:
        RequestError: a number is below 1, or an option does not fit the device.
        BundleError: a bundle is incomplete or altered.
        BackendUnavailable: a bundle cannot run on that machine.
        DeviceError: another machine cannot be reached, was lost, or lacks what the bundles need.
        MeasurementError: a bundle's process crashed.
        TimeLimitError: one did not answer in time.
    """
    from slide_export.benchmark import bundles as benchmark
    from slide_export.benchmark.devices import connect
    from slide_export.bundle.store import Bundle
    from slide_export.core.progress import no_progress

    plan, step = plan_of(plan, options), step or no_progress
    with connect(plan.device, step=step) as device:
        paths = [one if isinstance(one, Bundle) else Path(one) for one in bundles]
        return benchmark.bench(paths, plan, device, step)


def recommend(
    bundles: Sequence[Path | str],
    plan: BenchPlan | None = None,
    *,
    step: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> tuple[Recommendation, BenchmarkResult]:
    """Measure bundles of one checkpoint and recommend which to ship; give the measurement too.

    Args:
        bundles: the same model in several precisions, or for several targets.
        plan, step, options: see `bench`.

    Raises:
        RequestError: there are not two bundles, they are of different checkpoints, one is not in the precision that it
            claims, or none is fit to ship.
        SlideExportError: see `bench`.
    """
    from slide_export.benchmark import recommend as recommendation
    from slide_export.bundle import store as bundle

    paths = [Path(path) for path in bundles]
    if len(paths) < 2:
        raise RequestError(f"expected at least two bundles to choose from, found {len(paths)}")
    made = [bundle.read(path) for path in paths]
    manifests = {one.path: one.manifest for one in made}
    recommendation.of_one_checkpoint(manifests)
    recommendation.in_their_precision(manifests)
    measured = bench(made, plan, step=step, **options)
    return recommendation.recommend(measured), measured


def compare(
    variants: Sequence[str],
    targets: Sequence[str] = ("onnx",),
    plan: BenchPlan | None = None,
    *,
    out: Path | str = "compared",
    overwrite: bool = False,
    step: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> tuple[tuple[BenchmarkResult, ...], tuple[Path, ...]]:
    """Measure how fast variants are, one result for each target; give the results, and the files written from them.

    Args:
        variants: names, `im2col_swin_tiny` and its like among them; the others are compared with the first.
        targets: each is measured in a session of its own.
        plan: see `bench`.
        out: directory for `TARGET.json`, `report.html` and `report.md`.
        overwrite: replace these files.
        step: told of each stage.
        options: see `CompareOptions`.

    Raises:
        GateError: an artifact is not its model.
        SlideExportError: the request or the machine does not allow it.
    """
    from slide_export.benchmark.devices import connect
    from slide_export.core.progress import no_progress
    from slide_export.pages import write
    from slide_export.workflows import variants as comparison

    request = comparison.request_of(variants, targets, plan, options)
    write.refuse_existing(Path(out), request.targets, overwrite=overwrite)
    step = step or no_progress
    with connect(request.plan.device, step=step) as device:
        results = comparison.compare(request, device, step)
    return results, write.directory(dict(zip(request.targets, results, strict=True)), Path(out))


def report(results: Sequence[Path | str], outs: Sequence[Path | str] = ("report.html",)) -> tuple[Path, ...]:
    """Write pages about results for people; give their paths, one for each of `outs`.

    Args:
        results: files of `bench` or `compare`, from any machine.
        outs: files to write; `.html` is one self-contained page, `.md` has the same numbers in Markdown.

    Raises:
        RequestError: there is no result, one is given twice, an ending is another, or a page cannot be written.
        BundleError: a file is no result.
    """
    from slide_export.pages import write

    return write.reports([Path(path) for path in results], [Path(path) for path in outs])
