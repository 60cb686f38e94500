"""Measured artifacts of one checkpoint -> which to ship, in a sentence with its reason.

    1. refused    artifacts that failed their proof or missed their accuracy goal
    2. baseline   the most precise of the rest
    3. able       the baseline, and those that are measurably faster or the same
    4. as fast    the fastest of them, and those that are not measurably slower than it
    5. chosen     the smallest of these where it saves a tenth of the file or more, else the most precise

An artifact that is slower than the baseline, or not measurably different, is never recommended for its precision's
sake; the sentence names it where it is smaller, for whoever ships over a slow network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slide_export.backends import registry as backends
from slide_export.bundle.manifest import Manifest
from slide_export.core.errors import RequestError
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult, Comparison, Environment, Interval
from slide_export.core.precision import PRECISIONS, precision_named
from slide_export.proof.precision import describe, satisfies

from .fast_types import fast_types

WORTHWHILE_SIZE_RATIO = 0.9  # less than a tenth of the file saved is no reason to give up precision
UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Option:
    """One artifact compared with the baseline.

    Attributes:
        run: index into the result's runs.
        name: target and precision, with the bundle's own name where another artifact has the same.
        size: its file size over the baseline's.
        ratio: its time over the baseline's; None for the baseline itself.
        verdict: relative to the baseline; "" for itself.
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
        chosen: index into `options`.
        options: every artifact, the baseline first.
        sentence: the choice, its gain, and the smallest option if that is another one.
        reasons: why each other option was not chosen, in their order.
        unmeasured: what this processor computes fast and was not among the artifacts, a sentence each.
    """

    chosen: int
    options: tuple[Option, ...]
    sentence: str
    reasons: tuple[str, ...]
    unmeasured: tuple[str, ...] = ()


def recommend(result: BenchmarkResult) -> Recommendation:
    """Choose which of the artifacts of one measurement to ship; its first batch size decides.

    Raises:
        RequestError: there are not two artifacts to choose from, or none is fit to ship.
    """
    indices = [index for index, run in enumerate(result.runs) if run.batch == result.runs[0].batch]
    if len(indices) < 2:
        raise RequestError(f"expected at least two artifacts to choose from, found {len(indices)}")
    subjects = {index: result.runs[index].subject for index in indices}
    fit = [index for index in indices if not unfit(subjects[index])]
    if not fit:
        raise RequestError(f"expected an artifact that is fit to ship, found none: {unfit(subjects[indices[0]])}")
    base = min(fit, key=lambda index: _rank(subjects[index].precision))
    ordered = [base, *(index for index in indices if index != base)]
    names = _names([subjects[index] for index in ordered])
    options = tuple(_option(index, base, name, result) for index, name in zip(ordered, names, strict=True))
    able = [option for option in options if not option.refused and option.verdict not in ("slower", UNKNOWN)]
    fastest = min(able, key=lambda option: result.runs[option.run].p50_ms.value)
    as_fast = [option for option in able if option is fastest or not _slower(option.run, fastest.run, result)]
    chosen = _smallest(as_fast)
    reasons = tuple(_why(option, options[0], result.environment) for option in options[1:] if option is not chosen)
    unmeasured = tuple(_unmeasured(list(subjects.values()), result.environment))
    return Recommendation(options.index(chosen), options, _sentence(chosen, options), reasons, unmeasured)


def disproved(subject: ArtifactInfo) -> bool:
    """Whether an artifact failed its proof; one without a proof did not."""
    return not (subject.parity or {"passed": True})["passed"]


def unfit(subject: ArtifactInfo) -> str:
    """Why an artifact must not ship, "" where no measurement forbids it."""
    if disproved(subject):
        return "it failed its proof: it is not the trained model"
    accuracy = subject.accuracy or {}
    return "" if accuracy.get("passed", True) else f"it loses too much: {accuracy.get('sentence', '')}"


def _names(subjects: Sequence[ArtifactInfo]) -> list[str]:
    """Names of the options: target and precision, after the bundle's name where two have the same."""
    short = [f"{subject.target} {subject.precision}" for subject in subjects]
    count = Counter(short)
    return [
        f"{subject.name} {name}" if count[name] > 1 else name for subject, name in zip(subjects, short, strict=True)
    ]


def _option(index: int, base: int, name: str, result: BenchmarkResult) -> Option:
    subject, first = result.runs[index].subject, result.runs[base].subject
    relative = None if index == base else _compared(index, base, result)
    return Option(
        run=index,
        name=name,
        precision=subject.precision,
        size=subject.artifact_bytes / max(first.artifact_bytes, 1),
        ratio=None if relative is None else relative.ratio,
        verdict="" if relative is None else relative.verdict,
        drop=(subject.accuracy or {}).get("drop"),
        lost=_lost(subject.accuracy),
        refused=unfit(subject),
    )


def _lost(accuracy: Mapping[str, Any] | None) -> str:
    """Loss of accuracy in words: points of top-1 or, without classes, changed answers or decibels."""
    if not accuracy:
        return "accuracy not measured"
    if accuracy.get("drop") is None:
        decibels = accuracy["sqnr_db"]  # null in JSON where it is infinite, or no number
        if decibels is None or not math.isfinite(decibels):
            return "as PyTorch" if accuracy["passed"] else "no numbers beside PyTorch's"
        return f"{decibels:.0f} dB beside PyTorch"
    if accuracy.get("pytorch") is None:
        return f"{accuracy['drop']:.2f} % of the answers changed"
    return f"{max(accuracy['drop'], 0.0):.2f} points of top-1 lost"


def _compared(a: int, b: int, result: BenchmarkResult) -> Comparison:
    """Run a relative to run b.

    Raises:
        RequestError: the two were not compared.
    """
    found = result.comparison(a, b)
    if found is None:
        raise RequestError("expected artifacts that were measured beside each other, found two that were not")
    return found


def _slower(a: int, b: int, result: BenchmarkResult) -> bool:
    return _compared(a, b, result).verdict == "slower"


def _smallest(options: Sequence[Option]) -> Option:
    """The most precise of the options that are not a tenth larger than the smallest."""
    least = min(option.size for option in options)
    return min(
        (option for option in options if least >= WORTHWHILE_SIZE_RATIO * option.size),
        key=lambda one: _rank(one.precision),
    )


def _rank(precision: str) -> int:
    names = list(PRECISIONS)
    return names.index(precision) if precision in names else len(names)


def _sentence(chosen: Option, options: Sequence[Option]) -> str:
    choice = f"keep {chosen.name}" if chosen is options[0] else f"ship {chosen.name}: {_beside_base(chosen)}"
    small = min((one for one in options if not one.refused), key=lambda one: one.size)
    if small is chosen or small.size >= WORTHWHILE_SIZE_RATIO * chosen.size:
        return choice
    return f"{choice}; or ship {small.name} for size ({small.size / chosen.size:.2f} of it, {small.lost})"


def _beside_base(option: Option) -> str:
    rest = f"{option.size:.2f} of the size, {option.lost}"
    if option.ratio is None or option.verdict == "same":
        return f"it is as fast here, {rest}"
    return f"it is {_times(1 / option.ratio.value)} faster here, {rest}"


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor >= 1.1 else f"{factor:.2f} times"


def _unmeasured(subjects: Sequence[ArtifactInfo], machine: Environment) -> Iterator[str]:
    """Precisions that need no images, that a measured target has and whose type the processor multiplies fast."""
    fast, measured = fast_types(machine.flags), {(subject.target, subject.precision) for subject in subjects}
    for target in dict.fromkeys(subject.target for subject in subjects):
        known = backends.load(target).PRECISIONS if target in backends.names() else {}
        for precision in map(precision_named, known):
            if precision.needs_hardware and precision.computed in fast and (target, precision.name) not in measured:
                names = ", ".join(fast[precision.computed])
                yield f"{target} {precision} was not measured: this processor computes it fast ({names}), export it too"


def _why(option: Option, base: Option, machine: Environment) -> str:
    """Why an option other than the baseline was not chosen, and the cause that the processor's flags suggest."""
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
    """Possible cause why a precision is slow on a processor, "" where its flags suggest none.

    It is not measured. Source: ONNX Runtime, docs/performance/model-optimizations/quantization.md: int8 pays
    with VNNI or its like.
    """
    if precision == "int8" and "int8" not in fast_types(flags):
        return "this CPU has no VNNI, or the like, for 8-bit products"
    if precision == "int8":
        return "what is quantized is too little to pay for the conversions around it"
    if precision == "fp16" and "float16" not in fast_types(flags):
        return "this CPU computes no float16"
    if precision == "bf16" and "bfloat16" not in fast_types(flags):
        return "this CPU computes no bfloat16"
    if precision == "w8":
        return "its weights are turned into floats before each use"
    return ""


def of_one_checkpoint(manifests: Mapping[Path, Manifest]) -> None:
    """Refuse bundles of different checkpoints.

    Raises:
        RequestError: names the first two that differ.
    """
    hashes = {path: manifest.checkpoint.sha256 for path, manifest in manifests.items()}
    first = next(iter(hashes))
    for path, found in hashes.items():
        if found != hashes[first]:
            raise RequestError(f"expected bundles of one checkpoint, found {path} made from another than {first}")


def in_their_precision(manifests: Mapping[Path, Manifest]) -> None:
    """Refuse bundles that are not in the precision that they claim: a result does not tell.

    Raises:
        RequestError: names the first.
    """
    for path, manifest in manifests.items():
        found, precision = manifest.dtype_stats.stats, precision_named(manifest.precision.name)
        if not satisfies(found, precision, some_kept=bool(manifest.options.keep_fp32)):
            raise RequestError(
                f"expected bundles in the precision that they claim, found {path} not so "
                f"({describe(found, precision)}): leave it out"
            )
