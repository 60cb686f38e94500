"""Conclusions from a result, in sentences. Only runs of one session are compared, by that session's own verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from slide_export.benchmark.recommend import disproved, unfit
from slide_export.core.measurement import ArtifactTiming, BenchmarkResult, Comparison, Interval

from .document import Sentence, Tone
from .phrasing import MIB, bases, count, join_names, model_name, runtime, title

MAX_SENTENCES = 6
"""For each session on the first screen; the tables have them all."""


def decisions(result: BenchmarkResult) -> tuple[Sentence, ...]:
    """The fastest run of each batch size, then each run compared with the first of its kind."""
    crowded = [batch for batch in sorted({run.batch for run in result.runs}) if len(_indices(result, batch)) > 1]
    fastest = tuple(_fastest(result, batch) for batch in crowded)
    named = {_best(result, batch) for batch in crowded}  # a base among them would be named twice
    pairs = ((index, base) for index, base in bases(result).items() if base is not None or index not in named)
    sentences = tuple(_decide(result, index, base) for index, base in pairs)
    rest = len(sentences) - MAX_SENTENCES
    more = (Sentence("And", f"{count(rest, 'more run')} below."),) if rest > 0 else ()
    return (*fastest, *sentences[:MAX_SENTENCES], *more)


def _indices(result: BenchmarkResult, batch: int) -> list[int]:
    return [index for index, run in enumerate(result.runs) if run.batch == batch]


def _best(result: BenchmarkResult, batch: int) -> int:
    return min(_indices(result, batch), key=lambda index: result.runs[index].p50_ms.value)


def _fastest(result: BenchmarkResult, batch: int) -> Sentence:
    """The run of the smallest median, with the runs that are not measurably slower."""
    indices = _indices(result, batch)
    best = _best(result, batch)
    others = {index: result.comparison(best, index) for index in indices if index != best}
    level = [title(result.runs[index]) for index, found in others.items() if found is None or found.verdict != "faster"]
    words = f"{title(result.runs[best])}, {_time(result.runs[best])}."
    return Sentence(
        "Fastest", words + (f" The same, or too close to tell: {join_names(level)}." if level else ""), "good"
    )


def _decide(result: BenchmarkResult, index: int, base: int | None) -> Sentence:
    run = result.runs[index]
    if base is None:
        return Sentence(title(run), f"{_time(run)}.")
    other = result.runs[base]
    name = model_name(other) if runtime(other) == runtime(run) else title(other)
    found = result.comparison(index, base)
    if found is None:
        return Sentence(title(run), f"{_time(run)}; not compared with {name}.")
    return Sentence(title(run), f"{_time(run)}; {found.ratio.value:.2f} times {name}, {_verdict(found)}.", _tone(found))


def _time(run: ArtifactTiming) -> str:
    return f"{run.p50_ms.value:.1f} ms (p99 {run.p99_ms.value:.1f})"


def _ratio(of: Interval) -> str:
    return f"{of.value:.2f} [{of.low:.2f}, {of.high:.2f}]"


def _verdict(found: Comparison) -> str:
    if found.verdict == "cannot tell":
        return "too close to tell"
    return "the same speed" if found.verdict == "same" else found.verdict


def _tone(found: Comparison) -> Tone:
    tones: dict[str, Tone] = {"faster": "good", "slower": "bad", "cannot tell": "doubt"}
    return tones.get(found.verdict, "")


def recommendations(result: BenchmarkResult) -> tuple[Sentence, ...]:
    """Which precision to take, for each model and target that was measured in more than one."""

    def kind(index: int) -> tuple[str, str, str, int]:
        """Runs of one kind differ in precision alone."""
        run = result.runs[index]
        size = "x".join(map(str, run.subject.image_size))
        return run.subject.variant, f"{size} {run.subject.weights}", run.subject.target, run.batch

    indices = sorted(range(len(result.runs)), key=lambda index: (kind(index), index))
    groups = [list(group) for _, group in groupby(indices, key=kind)]
    several = [group for group in groups if len({result.runs[index].subject.precision for index in group}) > 1]
    return tuple(_recommend(result, group) for group in several)


def _recommend(result: BenchmarkResult, indices: Sequence[int]) -> Sentence:
    runs = result.runs
    model = runs[indices[0]]
    batch = "" if model.batch == 1 else f", batch {model.batch}"
    lead = f"{model.subject.variant} under {runtime(model)}{batch}"
    refused = {index: reason for index in indices if (reason := unfit(runs[index].subject))}
    fit = [index for index in indices if index not in refused]
    left_out = "".join(f" Left out is {model_name(runs[index])}: {reason}." for index, reason in refused.items())
    if not fit:
        return Sentence(lead, f"none to recommend.{left_out}", "bad")
    best = min(fit, key=lambda index: runs[index].p50_ms.value)
    rivals = [found for index in fit if index != best for found in [result.comparison(best, index)]]
    words, tone = _choose(runs, fit, best, rivals)
    return Sentence(lead, f"{words}{_doubts(runs, fit)}{left_out}", tone)


def _choose(
    runs: Sequence[ArtifactTiming], fit: Sequence[int], best: int, rivals: Sequence[Comparison | None]
) -> tuple[str, Tone]:
    """The recommendation and its tone.

    Args:
        best: the run of the smallest median among `fit`.
        rivals: comparisons of `best` with each other one; None where the result does not compare them.
    """
    known = [found for found in rivals if found is not None]
    if len(known) < len(rivals):
        return (
            f"no recommendation, {join_names([model_name(runs[index]) for index in fit])} were not compared.",
            "doubt",
        )
    name = model_name(runs[best])
    if not known:
        return f"{name}, the only one left.", ""
    ratios = join_names([f"{_ratio(found.ratio)} times {model_name(runs[found.b])}" for found in known])
    if all(found.verdict == "faster" for found in known):
        return f"take {name}: {ratios}, so faster.", "good"
    level = [best, *(found.b for found in known if found.verdict == "same")]
    if len(level) == len(fit):
        smallest = min(level, key=lambda index: (runs[index].subject.artifact_bytes, index))
        return (
            f"the speed decides nothing ({ratios}): take {model_name(runs[smallest])}{_smallest(runs[smallest])}.",
            "",
        )
    return f"no clear winner: {name} has the smallest median ({ratios}), but that it is faster is not certain.", "doubt"


def _smallest(run: ArtifactTiming) -> str:
    size = run.subject.artifact_bytes
    return f", the smallest ({size / MIB:.1f} MiB)" if size else ""


def _doubts(runs: Sequence[ArtifactTiming], fit: Sequence[int]) -> str:
    unproved = [model_name(runs[index]) for index in fit if not runs[index].subject.parity]
    unknown = [model_name(runs[index]) for index in fit if not runs[index].subject.accuracy]
    unproved_runs = f" Without a proof: {join_names(unproved)}." if unproved else ""
    return unproved_runs + (f" Accuracy not measured: {join_names(unknown)}." if unknown else "")


def doubts(result: BenchmarkResult) -> tuple[Sentence, ...]:
    """Reasons to doubt a result's numbers."""
    reasons = [Sentence(result.environment.device, warning, "doubt") for warning in result.environment.warnings]
    for run in result.runs:
        if not run.stable:
            words = f"its time was not stable after {run.warmup_calls} calls of warm-up; it was measured all the same"
            reasons.append(Sentence(title(run), f"{words}.", "doubt"))
        if run.stand_in:
            reasons.append(Sentence(title(run), f"{run.stand_in}.", "doubt"))
        if disproved(run.subject):
            reasons.append(Sentence(title(run), "the artifact failed its proof: its speed is not the model's.", "bad"))
    random = [run for run in result.runs if run.subject.weights != "trained"]
    if random:
        names = join_names(list(dict.fromkeys(run.subject.name for run in random)))
        reasons.append(
            Sentence("Random weights", f"{names}. They cost no speed, but their accuracy means nothing.", "")
        )
    return tuple(reasons)
