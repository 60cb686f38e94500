"""Results -> Document: which parts a page has, in the order in which somebody who decides wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from slide_export.benchmark.roofline import roofline
from slide_export.core.measurement import ArtifactTiming, BenchmarkResult, Comparison

from . import tables
from .conclusions import decisions, doubts, recommendations
from .document import Block, Document, Figure, Heading, Section, Statements
from .figures import latency, parity, profile, ratios, rooflines, tradeoff
from .phrasing import MIB, bases, count, detail, join_names, model_name, session_name

Published = Mapping[str, float]
"""Variant -> top-1 in percent, as its authors give it."""

IMAGENET_CLASSES = 1000
MIN_POINTS = 2  # in a plane
LATENCY = (
    "Every dot is a call, the first round on top, the last at the bottom: a slope is drift. The bold line is the "
    "median (p50), the band about it its interval, the thin lines p90 and p99."
)
RATIOS = (
    "A run's time over the first one's, paired by round, with its interval; left is faster. The band about 1 counts as "
    "the same: only an interval wholly outside or wholly inside of it is a verdict."
)
ROOFLINE = (
    "The dot is the median, the band ends at the limit. The dashed line is where the model's multiply-adds end at the "
    "best rate that this machine reached in the fastest type that the artifact computes in; the thin line is where its "
    "bytes are read once."
)
PROFILE = "Milliseconds of one call, block by block; bars of one batch size share a scale."
PARITY = (
    "The dot is the artifact's largest error against the trained PyTorch model in float64. The band runs from the "
    "noise floor (what PyTorch itself loses at this precision) to the limit; every step of the axis is a power of ten."
)


def compose(results: Sequence[BenchmarkResult], published: Published) -> Document:
    """The page of one or more results.

    Args:
        published: accuracies to draw where none was measured.
    """
    runs = [run for result in results for run in result.runs]
    devices = dict.fromkeys(f"{result.environment.device} ({result.environment.cpu})" for result in results)
    subtitle = f"{count(len(runs), 'run')} in {count(len(results), 'session')} on {join_names(list(devices))}"

    def each(part: Callable[[BenchmarkResult], Iterable[Block]]) -> Iterator[Block]:
        """A part of every session, under the session's name where there are several."""
        for result in results:
            blocks = tuple(part(result))
            if blocks and len(results) > 1:
                yield Heading(session_name(result))
            yield from blocks

    parts: Mapping[str, Iterable[Block]] = {
        "In short": (*each(lambda result: [Statements(decisions(result))]), *_summary(results)),
        "Latency": each(_latency),
        "Compared": each(_ratios),
        "How far from the limit": each(_rooflines),
        "Speed against accuracy or size": each(lambda result: _tradeoff(result, published)),
        "Where the time goes": each(_profile),
        "Equal to the trained model?": _parity(runs),
        "Start, memory, size": each(lambda result: [tables.start_up(result)]),
        "Measured on": (tables.environments(results), tables.settings(results)),
    }
    sections = (Section(title, tuple(blocks)) for title, blocks in parts.items())
    return Document("Measured latency", subtitle, tuple(section for section in sections if section.blocks))


def _summary(results: Sequence[BenchmarkResult]) -> Iterator[Block]:
    advice = tuple(sentence for result in results for sentence in recommendations(result))
    doubtful = tuple(sentence for result in results for sentence in doubts(result))
    if advice:
        yield Heading("Which precision to take")
        yield Statements(advice)
    if doubtful:
        yield Heading("What makes this doubtful")
        yield Statements(tuple(dict.fromkeys(doubtful)))
    if len(results) > 1:
        yield tables.side_by_side(results)


def _latency(result: BenchmarkResult) -> Iterator[Block]:
    for batch, runs in _by_batch(result.runs).items():
        cut = " The axis does not begin at 0." if latency.axis_of(runs).low > 0 else ""
        yield Figure(f"Latency at batch {batch}", latency.draw(runs), LATENCY + cut)
    yield tables.latency(result)


def _by_batch(runs: Sequence[ArtifactTiming]) -> dict[int, list[ArtifactTiming]]:
    return {batch: [run for run in runs if run.batch == batch] for batch in sorted({run.batch for run in runs})}


def _ratios(result: BenchmarkResult) -> Iterator[Block]:
    with_first: list[Comparison] = []
    for index, base in bases(result).items():
        found = None if base is None else result.comparison(index, base)
        with_first += [found] if found else []
    if with_first:
        yield Figure("Ratio to the first run", ratios.draw(result, with_first), RATIOS)
    if result.comparisons:
        yield tables.ratios(result)


def _rooflines(result: BenchmarkResult) -> Iterator[Block]:
    found = [(run, one) for run in result.runs if (one := roofline(run, result.peaks))]
    if found and result.peaks is not None:
        yield Figure("Median beside the limit", rooflines.draw(found), ROOFLINE)
        yield tables.rooflines(found)
        yield tables.peaks(result.peaks)


def _tradeoff(result: BenchmarkResult, published: Published) -> Iterator[Block]:
    """Plane of the smallest batch size; none where fewer than two runs would stand in it."""
    runs = next(iter(_by_batch(result.runs).values()), [])
    what, unit, values = _cost(runs, published)
    drawn = [(run, value) for run, value in zip(runs, values, strict=True) if value]
    if len(drawn) < MIN_POINTS:
        return
    hollow = what.startswith("published")
    targets = list(dict.fromkeys(run.subject.target for run in runs))
    points = [
        tradeoff.Point(run.p50_ms.value, value, f"{model_name(run)}, {run.subject.target}", series, hollow)
        for run, value in drawn
        for series in [targets.index(run.subject.target) % tradeoff.SERIES]
    ]
    absent = [model_name(run) for run, value in zip(runs, values, strict=True) if not value]
    caption = f"Further left is faster. Batch {runs[0].batch}."
    caption += f" {tradeoff.HOLLOW}" * hollow + (
        f" Not drawn, for it is unknown: {join_names(absent)}." if absent else ""
    )
    yield Figure(f"Median latency and {what}", tradeoff.draw(points, unit, what, from_zero=unit == "MiB"), caption)
    yield tables.costs([run for run, _ in drawn], what, unit, [value for _, value in drawn])


def _top1(run: ArtifactTiming) -> float:
    """Top-1 accuracy of the artifact, 0 to 1; 0 where none was measured."""
    hits = (run.subject.accuracy or {}).get("artifact")
    return float(hits.get("top1") or 0.0) if hits else 0.0


def _of_imagenet(run: ArtifactTiming) -> bool:
    """Whether an artifact has ImageNet's classes, as far as is known: another head has another accuracy."""
    return run.subject.classes in (0, IMAGENET_CLASSES)


def _cost(runs: Sequence[ArtifactTiming], published: Published) -> tuple[str, str, list[float]]:
    """Quantity that the speed is set against, its unit, and its value for each run; 0 where there is none."""
    measured = [100 * _top1(run) for run in runs]
    if sum(map(bool, measured)) >= MIN_POINTS:
        return "measured top-1 accuracy", "%", measured
    known = [published.get(run.subject.variant, 0.0) if _of_imagenet(run) else 0.0 for run in runs]
    if sum(map(bool, known)) >= MIN_POINTS:
        return "published ImageNet top-1 accuracy", "%", known
    return "size of the artifact", "MiB", [run.subject.artifact_bytes / MIB for run in runs]


def _profile(result: BenchmarkResult) -> Iterator[Block]:
    for runs in _by_batch([run for run in result.runs if run.profile]).values():
        longest = max(sum(times.values()) for run in runs for times in profile.blocks(run).values())
        for run in runs:
            yield Figure(f"{model_name(run)}, {detail(run)}, batch {run.batch}", profile.draw(run, longest), PROFILE)
    profiled = [run for run in result.runs if run.profile]
    if profiled:
        yield tables.groups(result)
        yield tables.kinds(result)
        yield from map(tables.blocks, profiled)


def _parity(runs: Sequence[ArtifactTiming]) -> Iterator[Block]:
    """Each proof once, whatever batch sizes its artifact was measured at."""
    proofs = {(model_name(run), detail(run), str(run.subject.parity)): run for run in runs if run.subject.parity}
    proved = list(proofs.values())
    if proved:
        yield Figure("Largest error, noise floor and limit", parity.draw(proved), PARITY)
        yield tables.parity(proved)
