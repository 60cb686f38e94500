"""What follows from a result, in sentences. Only runs of one sitting are compared, by that sitting's own verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from slide_export.benchmark.recommend import disproved, unfit
from slide_export.core.measurement import ArtifactTiming, BenchmarkResult, Comparison, Interval

from .document import Sentence, Tone
from .phrasing import MIB, bases, between, count, listed, runtime, subject, title

MOST = 6
"""Sentences of a sitting on the first screen; the tables have them all."""


def decisions(result: BenchmarkResult) -> tuple[Sentence, ...]:
    """Returns the fastest run of each batch size, then each run beside the first of its kind."""
    crowded = [batch for batch in sorted({run.batch for run in result.runs}) if len(_places(result, batch)) > 1]
    fastest = tuple(_fastest(result, batch) for batch in crowded)
    told = {_best(result, batch) for batch in crowded}  # a base among them would be said twice
    pairs = ((place, base) for place, base in bases(result).items() if base is not None or place not in told)
    said = tuple(_decide(result, place, base) for place, base in pairs)
    rest = len(said) - MOST
    more = (Sentence("And", f"{count(rest, 'more run')} below."),) if rest > 0 else ()
    return (*fastest, *said[:MOST], *more)


def _places(result: BenchmarkResult, batch: int) -> list[int]:
    return [place for place, run in enumerate(result.runs) if run.batch == batch]


def _best(result: BenchmarkResult, batch: int) -> int:
    return min(_places(result, batch), key=lambda place: result.runs[place].p50_ms.value)


def _fastest(result: BenchmarkResult, batch: int) -> Sentence:
    """Returns the run of the smallest median, with those of which nobody can say that they are slower."""
    places = _places(result, batch)
    best = _best(result, batch)
    others = {place: between(result, best, place) for place in places if place != best}
    level = [title(result.runs[place]) for place, found in others.items() if found is None or found.verdict != "faster"]
    words = f"{title(result.runs[best])}, {_time(result.runs[best])}."
    return Sentence("Fastest", words + (f" The same, or too close to tell: {listed(level)}." if level else ""), "good")


def _decide(result: BenchmarkResult, place: int, base: int | None) -> Sentence:
    run = result.runs[place]
    if base is None:
        return Sentence(title(run), f"{_time(run)}.")
    other = result.runs[base]
    name = subject(other) if runtime(other) == runtime(run) else title(other)
    found = between(result, place, base)
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
    """Returns which precision to take, for each model and target that was measured in more than one."""

    def kind(place: int) -> tuple[str, str, str, int]:
        run = result.runs[place]
        size = "x".join(map(str, run.subject.image_size))
        return run.subject.variant, f"{size} {run.subject.weights}", run.subject.target, run.batch

    places = sorted(range(len(result.runs)), key=lambda place: (kind(place), place))
    groups = [list(group) for _, group in groupby(places, key=kind)]
    several = [group for group in groups if len({result.runs[place].subject.precision for place in group}) > 1]
    return tuple(_recommend(result, group) for group in several)


def _recommend(result: BenchmarkResult, places: Sequence[int]) -> Sentence:
    runs = result.runs
    model = runs[places[0]]
    batch = "" if model.batch == 1 else f", batch {model.batch}"
    lead = f"{model.subject.variant} under {runtime(model)}{batch}"
    refused = {place: reason for place in places if (reason := unfit(runs[place].subject))}
    fit = [place for place in places if place not in refused]
    left_out = "".join(f" Left out is {subject(runs[place])}: {reason}." for place, reason in refused.items())
    if not fit:
        return Sentence(lead, f"none to recommend.{left_out}", "bad")
    best = min(fit, key=lambda place: runs[place].p50_ms.value)
    rivals = [found for place in fit if place != best for found in [between(result, best, place)]]
    words, tone = _choose(runs, fit, best, rivals)
    return Sentence(lead, f"{words}{_doubts(runs, fit)}{left_out}", tone)


def _choose(
    runs: Sequence[ArtifactTiming], fit: Sequence[int], best: int, rivals: Sequence[Comparison | None]
) -> tuple[str, Tone]:
    """Returns the recommendation and its tone.

    Args:
        best: of the smallest median among `fit`.
        rivals: `best` beside each other one; None where the result does not compare them.
    """
    known = [found for found in rivals if found is not None]
    if len(known) < len(rivals):
        return f"no recommendation, {listed([subject(runs[place]) for place in fit])} were not compared.", "doubt"
    name = subject(runs[best])
    if not known:
        return f"{name}, the only one left.", ""
    ratios = listed([f"{_ratio(found.ratio)} times {subject(runs[found.b])}" for found in known])
    if all(found.verdict == "faster" for found in known):
        return f"take {name}: {ratios}, so faster.", "good"
    level = [best, *(found.b for found in known if found.verdict == "same")]
    if len(level) == len(fit):
        smallest = min(level, key=lambda place: (runs[place].subject.artifact_bytes, place))
        return f"the speed decides nothing ({ratios}): take {subject(runs[smallest])}{_smallest(runs[smallest])}.", ""
    return f"no clear winner: {name} has the smallest median ({ratios}), but that it is faster is not certain.", "doubt"


def _smallest(run: ArtifactTiming) -> str:
    size = run.subject.artifact_bytes
    return f", the smallest ({size / MIB:.1f} MiB)" if size else ""


def _doubts(runs: Sequence[ArtifactTiming], fit: Sequence[int]) -> str:
    unproved = [subject(runs[place]) for place in fit if not runs[place].subject.parity]
    unknown = [subject(runs[place]) for place in fit if not runs[place].subject.accuracy]
    said = f" Without a proof: {listed(unproved)}." if unproved else ""
    return said + (f" Accuracy not measured: {listed(unknown)}." if unknown else "")


def doubts(result: BenchmarkResult) -> tuple[Sentence, ...]:
    """Returns what makes a result's numbers doubtful."""
    said = [Sentence(result.environment.device, warning, "doubt") for warning in result.environment.warnings]
    for run in result.runs:
        if not run.stable:
            words = f"its time was not stable after {run.warmup_calls} calls of warm-up; it was measured all the same"
            said.append(Sentence(title(run), f"{words}.", "doubt"))
        if run.stand_in:
            said.append(Sentence(title(run), f"{run.stand_in}.", "doubt"))
        if disproved(run.subject):
            said.append(Sentence(title(run), "the artifact failed its proof: its speed is not the model's.", "bad"))
    random = [run for run in result.runs if run.subject.weights != "trained"]
    if random:
        names = listed(list(dict.fromkeys(run.subject.name for run in random)))
        said.append(Sentence("Random weights", f"{names}. They cost no speed, but their accuracy means nothing.", ""))
    return tuple(said)
