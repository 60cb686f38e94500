"""Measured artifacts of one checkpoint -> which to ship, in a sentence with its reason.

    refused      whoever failed its proof or missed its accuracy goal
    baseline     the most precise of the rest
    fit          whoever is measurably faster than the baseline, or the same
    fastest      of those
    as fast      whoever is not measurably slower than it
    smallest     of those, where that saves a tenth of the file or more; else the most precise

An artifact that is slower than the baseline, or of which nobody can tell, is never recommended for its precision's
sake; what it saves in size is said, for whoever ships over a thin line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import RequestError
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult, Comparison, Environment, Interval
from slide_export.proof import precision as truth

PRECISIONS = ("fp32", "fp16", "int8", "w8")  # the most precise first
SAVES = 0.9  # of a file's size: less than a tenth saved is no reason to give up precision
UNKNOWN = "cannot tell"
INTEGER_FLAGS = {
    "avx512_vnni": "VNNI",
    "avx_vnni": "VNNI",
    "amx_int8": "AMX",
    "asimddp": "dot products",
    "i8mm": "I8MM",
}
HALF_FLAGS = frozenset({"avx512_fp16", "amx_fp16", "fphp", "asimdhp"})


@dataclass(frozen=True)
class Option:
    """One artifact beside the baseline.

    Attributes:
        run: place in the result's runs.
        name: target and precision, with the bundle's own name where that tells it from another.
        size: of its file over the baseline's.
        ratio: of its time over the baseline's; None for the baseline itself.
        verdict: beside the baseline; "" for itself.
        drop: points of top-1 lost to PyTorch; without classes, the percentage of changed answers; None where neither is
            known.
        lost: the same in words.
        refused: why it is out, "" where it is not.
    """

    run: int
    name: str
    precision: str
    size: float
    ratio: Interval | None
    verdict: str
    drop: float | None
    lost: str
    refused: str


@dataclass(frozen=True)
class Recommendation:
    """Which artifact to ship.

    Attributes:
        chosen: a place in `options`.
        options: every artifact, the baseline first.
        sentence: the choice, what it gains, and what to ship for size if that is another one.
        reasons: what speaks against each other one, in their order.
    """

    chosen: int
    options: tuple[Option, ...]
    sentence: str
    reasons: tuple[str, ...]


def recommend(result: BenchmarkResult) -> Recommendation:
    """Returns which of the artifacts of one measurement to ship; its first batch size decides.

    Raises:
        RequestError: there are not two artifacts to choose from, or none is fit to ship.
    """
    batch = result.runs[0].batch if result.runs else 0
    places = [place for place, run in enumerate(result.runs) if run.batch == batch]
    if len(places) < 2:
        raise RequestError(f"expected at least two artifacts to choose from, found {len(places)}")
    subjects = {place: result.runs[place].subject for place in places}
    fit = [place for place in places if not unfit(subjects[place])]
    if not fit:
        raise RequestError(f"expected an artifact that is fit to ship, found none: {unfit(subjects[places[0]])}")
    base = min(fit, key=lambda place: _place(subjects[place].precision))
    ordered = [base, *(place for place in places if place != base)]
    names = _names([subjects[place] for place in ordered])
    options = tuple(_option(place, base, name, result) for place, name in zip(ordered, names, strict=True))
    able = [option for option in options if not option.refused and option.verdict not in ("slower", UNKNOWN)]
    fastest = min(able, key=lambda option: result.runs[option.run].p50_ms.value)
    as_fast = [option for option in able if option is fastest or not _slower(option.run, fastest.run, result)]
    chosen = _smallest(as_fast)
    reasons = tuple(_why(option, options[0], result.environment) for option in options[1:] if option is not chosen)
    return Recommendation(options.index(chosen), options, _sentence(chosen, options), reasons)


def disproved(subject: ArtifactInfo) -> bool:
    """Tells whether an artifact failed its proof; one that has none did not."""
    return not (subject.parity or {"passed": True})["passed"]


def unfit(subject: ArtifactInfo) -> str:
    """Returns why an artifact must not ship, "" where nothing that was measured forbids it."""
    if disproved(subject):
        return "it failed its proof: it is not the trained model"
    accuracy = subject.accuracy or {}
    return "" if accuracy.get("passed", True) else f"it loses too much: {accuracy.get('sentence', '')}"


def _names(subjects: Sequence[ArtifactInfo]) -> list[str]:
    """Returns what to call each: target and precision, after the bundle's name where two have the same."""
    short = [f"{subject.target} {subject.precision}" for subject in subjects]
    count = Counter(short)
    return [
        f"{subject.name} {name}" if count[name] > 1 else name for subject, name in zip(subjects, short, strict=True)
    ]


def _option(place: int, base: int, name: str, result: BenchmarkResult) -> Option:
    subject, first = result.runs[place].subject, result.runs[base].subject
    verdict, ratio = _beside(place, base, result.comparisons) if place != base else ("", None)
    return Option(
        run=place,
        name=name,
        precision=subject.precision,
        size=subject.artifact_bytes / max(first.artifact_bytes, 1),
        ratio=ratio,
        verdict=verdict,
        drop=(subject.accuracy or {}).get("drop"),
        lost=_lost(subject.accuracy),
        refused=unfit(subject),
    )


def _lost(accuracy: Mapping[str, Any] | None) -> str:
    """Returns what is lost of the accuracy: points of top-1 or, where nobody knows who is right, changed answers."""
    if not accuracy:
        return "accuracy not measured"
    if accuracy.get("drop") is None:
        return f"{accuracy['sqnr_db']:.0f} dB beside PyTorch"
    if accuracy.get("pytorch") is None:
        return f"{accuracy['drop']:.2f} % of the answers changed"
    return f"{max(accuracy['drop'], 0.0):.2f} points of top-1 lost"


def _beside(a: int, b: int, comparisons: Sequence[Comparison]) -> tuple[str, Interval]:
    """Returns the verdict and the ratio of run a beside run b, whichever way they were compared.

    Raises:
        RequestError: the two were not compared.
    """
    turned: Mapping[str, str] = {"faster": "slower", "slower": "faster"}
    for found in comparisons:
        if (found.a, found.b) == (a, b):
            return found.verdict, found.ratio
        if (found.a, found.b) == (b, a):
            ratio = found.ratio
            swapped = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
            return turned.get(found.verdict, found.verdict), swapped
    raise RequestError("expected artifacts that were measured beside each other, found two that were not")


def _slower(a: int, b: int, result: BenchmarkResult) -> bool:
    return _beside(a, b, result.comparisons)[0] == "slower"


def _smallest(options: Sequence[Option]) -> Option:
    """Returns the most precise of the options that is not a tenth larger than the smallest."""
    least = min(option.size for option in options)
    return min((option for option in options if least >= SAVES * option.size), key=lambda one: _place(one.precision))


def _place(precision: str) -> int:
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)


def _sentence(chosen: Option, options: Sequence[Option]) -> str:
    choice = f"keep {chosen.name}" if chosen is options[0] else f"ship {chosen.name}: {_beside_base(chosen)}"
    small = min((one for one in options if not one.refused), key=lambda one: one.size)
    if small is chosen or small.size >= SAVES * chosen.size:
        return choice
    return f"{choice}; or ship {small.name} for size ({small.size / chosen.size:.2f} of it, {small.lost})"


def _beside_base(option: Option) -> str:
    rest = f"{option.size:.2f} of the size, {option.lost}"
    if option.ratio is None or option.verdict == "same":
        return f"it is as fast here, {rest}"
    return f"it is {_times(1 / option.ratio.value)} faster here, {rest}"


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor >= 1.1 else f"{factor:.2f} times"


def _why(option: Option, base: Option, machine: Environment) -> str:
    """Returns what speaks against an option that is not the baseline, and what the processor's flags suggest of it."""
    if option.refused or option.ratio is None:
        return f"{option.name} is out: {option.refused}"
    ratio = option.ratio
    if option.verdict == "slower":
        suspected = slow_because(option.precision, machine.flags)
        return f"{option.name} is {_times(ratio.value)} slower here" + (suspected and f", perhaps because {suspected}")
    if option.verdict == UNKNOWN:
        between = f"{ratio.low:.2f} to {ratio.high:.2f} times the time of {base.name}"
        return f"{option.name}: whether it is faster cannot be told, it takes {between}"
    if option.verdict == "faster":
        return f"{option.name} is {_times(1 / ratio.value)} faster than {base.name}, and not the best of them"
    return f"{option.name} is as fast as {base.name}, {option.size:.2f} of its size"


def slow_because(precision: str, flags: Sequence[str]) -> str:
    """Returns what may make a precision slow on a processor, "" where its flags suggest nothing.

    Nothing of it is measured. Source: ONNX Runtime, docs/performance/model-optimizations/quantization.md: int8 pays
    with VNNI or its like.
    """
    if precision == "int8" and not any(flag in INTEGER_FLAGS for flag in flags):
        return "this CPU has no VNNI, or the like, for 8-bit products"
    if precision == "int8":
        return "what is quantized is too little to pay for the conversions around it"
    if precision == "fp16" and HALF_FLAGS.isdisjoint(flags):
        return "this CPU computes no float16"
    if precision == "w8":
        return "its weights are turned into floats before each use"
    return ""


def of_one_checkpoint(manifests: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuses bundles of different checkpoints.

    Raises:
        RequestError: names the first two that differ.
    """
    hashes = {path: manifest["checkpoint"]["sha256"] for path, manifest in manifests.items()}
    first = next(iter(hashes))
    for path, found in hashes.items():
        if found != hashes[first]:
            raise RequestError(f"expected bundles of one checkpoint, found {path} made from another than {first}")


def in_their_precision(manifests: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuses bundles that are not in the precision that they claim: a result does not tell.

    Raises:
        RequestError: names the first.
    """
    for path, manifest in manifests.items():
        said, precision = manifest["census"], manifest["precision"]
        census = DtypeStats(said["stored"], said["computed"], said["fixed"], said["marked"])
        if not truth.satisfies(census, precision, some_kept=bool(manifest["options"]["keep_fp32"])):
            raise RequestError(
                f"expected bundles in the precision that they claim, found {path} not so "
                f"({truth.sentence(census, precision)}): leave it out"
            )
