"""Measured artifacts of one checkpoint -> which to ship, in a sentence with its reason.

    refused      whoever missed its accuracy goal
    fastest      of the rest
    as fast      whoever is not measurably slower than it
    smallest     of those, where that saves a tenth of the file or more; else the most precise

An artifact that is slower than the baseline is never recommended for its precision's sake; what it saves in size is
said, for whoever ships over a thin line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import RequestError
from .result import Comparison, Environment, Interval, Result

PRECISIONS = ("fp32", "fp16", "int8", "w8")  # the most precise first
SAVES = 0.9  # of a file's size: less than a tenth saved is no reason to give up precision
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
        name: of the artifact, target and precision included.
        size: of its file over the baseline's.
        ratio: of its time over the baseline's; None for the baseline itself.
        verdict: beside the baseline; "" for itself.
        drop: points of accuracy lost to PyTorch; None where none was measured.
        refused: why it is out, "" where it is not.
    """

    run: int
    name: str
    precision: str
    size: float
    ratio: Interval | None
    verdict: str
    drop: float | None
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


def recommend(result: Result) -> Recommendation:
    """Returns which of the artifacts of one measurement to ship; its first batch size decides.

    Raises:
        RequestError: there are not two artifacts to choose from, or all missed their accuracy goal.
    """
    batch = result.runs[0].batch if result.runs else 0
    places = [place for place, run in enumerate(result.runs) if run.batch == batch]
    if len(places) < 2:
        raise RequestError(f"expected at least two artifacts to choose from, found {len(places)}")
    base = min(places, key=lambda place: _place(result.runs[place].subject.precision))
    ordered = [base, *(place for place in places if place != base)]
    options = tuple(_option(place, base, result) for place in ordered)
    able = [option for option in options if not option.refused]
    if not able:
        raise RequestError(f"expected an artifact within its accuracy goal, found none: {options[0].refused}")
    fastest = min(able, key=lambda option: result.runs[option.run].p50_ms.value)
    as_fast = [option for option in able if option is fastest or not _slower(option.run, fastest.run, result)]
    chosen = _smallest(as_fast)
    reasons = tuple(_why(option, result.environment) for option in options[1:] if option is not chosen)
    return Recommendation(options.index(chosen), options, _sentence(chosen, options), reasons)


def _option(place: int, base: int, result: Result) -> Option:
    run, first = result.runs[place], result.runs[base]
    subject, accuracy = run.subject, run.subject.accuracy or {}
    verdict, ratio = _beside(place, base, result.comparisons) if place != base else ("", None)
    refused = "" if accuracy.get("passed", True) else f"{subject.name} loses too much: {accuracy.get('sentence', '')}"
    return Option(
        run=place,
        name=f"{subject.target} {subject.precision}",
        precision=subject.precision,
        size=subject.artifact_bytes / max(first.subject.artifact_bytes, 1),
        ratio=ratio,
        verdict=verdict,
        drop=accuracy.get("drop"),
        refused=refused,
    )


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


def _slower(a: int, b: int, result: Result) -> bool:
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
    return f"{choice}; or ship {small.name} for size ({small.size / chosen.size:.2f} of it)"


def _beside_base(option: Option) -> str:
    size = f"{option.size:.2f} of the size"
    drop = "" if option.drop is None else f", {max(option.drop, 0.0):.2f} points lost"
    if option.ratio is None or option.verdict in ("same", "cannot tell"):
        return f"it is as fast here as can be told, {size}{drop}"
    factor = option.ratio.value if option.verdict == "slower" else 1 / option.ratio.value
    return f"it is {factor:.1f} times {option.verdict} here, {size}{drop}"


def _why(option: Option, machine: Environment) -> str:
    """Returns what speaks against an option, with the reason that the processor gives."""
    if option.refused:
        return option.refused
    if option.verdict == "slower" and option.ratio is not None:
        reason = slow_because(option.precision, machine.flags)
        return f"{option.name} is {option.ratio.value:.1f} times slower here" + (f": {reason}" if reason else "")
    if option.verdict == "faster" and option.ratio is not None:
        return f"{option.name} is {1 / option.ratio.value:.1f} times faster than the first, and not the best of them"
    return f"{option.name} is no faster as far as can be told"


def slow_because(precision: str, flags: Sequence[str]) -> str:
    """Returns why a precision is slow on a processor, "" where its flags give no reason.

    Source: ONNX Runtime, docs/performance/model-optimizations/quantization.md: int8 pays with VNNI or its like.
    """
    if precision == "int8" and not any(flag in INTEGER_FLAGS for flag in flags):
        return "this CPU has no VNNI, or the like, for 8-bit products"
    if precision == "int8":
        return "what is quantized here is too little to pay for the conversions around it"
    if precision == "fp16" and HALF_FLAGS.isdisjoint(flags):
        return "this CPU computes no float16, so every value is converted"
    if precision == "w8":
        return "its weights are turned into floats before each use"
    return ""


def of_one_checkpoint(manifests: Mapping[Path, Mapping[str, object]]) -> None:
    """Refuses bundles of different checkpoints.

    Raises:
        RequestError: names the first two that differ.
    """
    hashes = {path: manifest["checkpoint"]["sha256"] for path, manifest in manifests.items()}  # type: ignore[index]
    first = next(iter(hashes))
    for path, found in hashes.items():
        if found != hashes[first]:
            raise RequestError(f"expected bundles of one checkpoint, found {path} made from another than {first}")
