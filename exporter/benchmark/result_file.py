"""`BenchmarkResult` <-> JSON: the one schema of `bench`, `compare` and of programs on devices.

A result is a list of runs, one for each artifact and batch size, measured in interleaved rounds by one machine in one
session: runs of one result may be compared, runs of two results only be put side by side. The attributes of the
dataclasses in `core/measurement.py` are the fields of the JSON, by the same names.

A program on a device writes what it knows. It may leave out what has a default there, which means "unknown", and what
is computed from the rounds: a run's `p50_ms`, `p90_ms`, `p99_ms` and `images_per_s`, and the result's `comparisons`.
Reading fills these in as `bench` computes them (`benchmark/statistics.py`), so that no device needs statistics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast, get_args

from slide_export.core import files, typed_json
from slide_export.core.errors import BundleError
from slide_export.core.measurement import DERIVED, ArtifactTiming, BenchmarkResult, BenchProtocol, Verdict
from slide_export.core.text import foreign
from slide_export.core.typed_json import FieldError, Measured

SCHEMA = "slide-export/result/1"
SHORTEST_MS, LONGEST_MS = 1e-9, 1e12
"""Of one call; what is beyond was never measured, and no axis can show it."""
Rounds: TypeAlias = tuple[tuple[float, ...], ...]
Objects: TypeAlias = tuple[Mapping[str, Any], ...]


class Proof(TypedDict, total=False):
    """What is read of a manifest's "parity"."""

    passed: bool
    top1: float | None


class OutputNumbers(TypedDict, total=False):
    """What is read of one output in a manifest's "parity"."""

    name: str
    max_abs: Measured
    floor_max: Measured
    limit_max: Measured
    sqnr_db: Measured


class Loss(TypedDict, total=False):
    """What is read of a manifest's "accuracy"."""

    passed: bool
    sentence: str
    drop: float | None
    sqnr_db: Measured
    pytorch: Mapping[str, float | None] | None
    artifact: Mapping[str, float | None] | None


def to_json(result: BenchmarkResult) -> str:
    """JSON text of a result, its schema named first; a number that is not finite is null."""
    content = typed_json.finite(typed_json.plain(result))
    return json.dumps({"schema": SCHEMA, **content}, indent=2, allow_nan=False) + "\n"


def from_json(text: str | bytes, source: str) -> BenchmarkResult:
    """Result in a JSON text.

    Args:
        source: the file's name, for the message.

    Raises:
        BundleError: it is no result of this schema: the field's path, what was expected and what was found.
    """
    try:
        content = typed_json.finite(typed_json.parse(text))  # older versions wrote Infinity and NaN
        if not isinstance(content, dict) or "schema" not in content:
            raise FieldError("", f"an object with the schema {SCHEMA}", typed_json.said(content))
        found = content.pop("schema")
        if found != SCHEMA:
            told = repr(found) if isinstance(found, str) else typed_json.said(found)
            raise BundleError(f"expected a result of schema {SCHEMA}, found {foreign(told)} in {source}")
        return _result(content)
    except ValueError as error:
        why = foreign(error, 300)
        raise BundleError(f"expected a result of `slide-export bench` in {source}, found none: {why}") from error


def read(path: Path) -> BenchmarkResult:
    """Result in a file.

    Raises:
        BundleError: the file cannot be read or holds no result.
    """
    try:
        return from_json(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
        raise BundleError(f"expected a result file, {path} cannot be read: {error}") from error


def write(result: BenchmarkResult, path: Path) -> None:
    """Write the result, whole or not at all.

    Raises:
        RequestError: nothing can be written there.
    """
    files.write(path, to_json(result))


def _result(content: dict[str, Any]) -> BenchmarkResult:
    """The result in plain values, its computed fields computed where the device left them out.

    Raises:
        FieldError: a field is missing, unknown or misformed.
        ValueError: nothing can be computed of the rounds.
    """
    protocol = typed_json.read(BenchProtocol, content.get("protocol"), "protocol")
    if not 0 < protocol.confidence < 1:
        raise FieldError("protocol.confidence", "between 0 and 1", typed_json.said(protocol.confidence))
    runs = content.get("runs")
    if isinstance(runs, list):
        content["runs"] = [_whole(run, f"runs[{index}]", protocol) for index, run in enumerate(runs)]
    _refuse_unknown_verdicts(content.get("comparisons"))
    result = typed_json.read(BenchmarkResult, content)
    result = replace(result, runs=tuple(map(_with_numbers, result.runs)))
    if "comparisons" in content:
        return result
    from .statistics import comparisons  # SciPy takes a second to import

    return replace(result, comparisons=tuple(comparisons(result.runs, protocol)))


def _whole(run: Any, where: str, protocol: BenchProtocol) -> Any:
    """A run in plain values with its computed fields as they are written; all of them anew where one is missing."""
    if not isinstance(run, dict) or all(name in run for name in DERIVED):
        return run
    rounds = typed_json.read(Rounds, run.get("rounds_ms"), f"{where}.rounds_ms")
    if not all(SHORTEST_MS <= time <= LONGEST_MS for calls in rounds for time in calls):
        raise FieldError(f"{where}.rounds_ms", f"milliseconds from {SHORTEST_MS:g} to {LONGEST_MS:g}", "others")
    batch = typed_json.read(int, run.get("batch"), f"{where}.batch")
    from .statistics import summarize

    found = summarize(rounds, batch, protocol.confidence)
    return {**run, **{name: typed_json.plain(getattr(found, name)) for name in DERIVED}}


def _refuse_unknown_verdicts(comparisons: Any) -> None:
    for one in comparisons if isinstance(comparisons, list) else ():
        verdict = one.get("verdict") if isinstance(one, dict) else None
        if isinstance(verdict, str) and verdict not in get_args(Verdict):
            raise ValueError(f"no verdict: {foreign(verdict)!r}")


def _with_numbers(run: ArtifactTiming) -> ArtifactTiming:
    """A run whose proof and accuracy are of the types that pages and recommendations read.

    Raises:
        FieldError: a number is none.
    """
    parity, accuracy = run.subject.parity, run.subject.accuracy
    if parity:
        parity = {**parity, **_known(Proof, parity, "parity")}
    if parity and "outputs" in parity:
        outputs = [
            {**plain, **_with_decibels(_known(OutputNumbers, plain, f"parity.outputs[{index}]"))}
            for index, plain in enumerate(typed_json.read(Objects, parity["outputs"], "parity.outputs"))
        ]
        parity = {**parity, "outputs": outputs}
    if accuracy:
        accuracy = {**accuracy, **_known(Loss, accuracy, "accuracy")}
    return replace(run, subject=replace(run.subject, parity=parity, accuracy=accuracy))


def _known(kind: Any, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries of an object that a type names, read; the others are left to whoever wrote them."""
    named = {name: content[name] for name in typed_json.hints_of(kind) if name in content}
    return cast("dict[str, Any]", typed_json.read(kind, named, where))


def _with_decibels(output: dict[str, Any]) -> dict[str, Any]:
    """An output whose infinite decibels stood as null: nothing was lost."""
    exact = output.get("max_abs") == 0 and "sqnr_db" in output and math.isnan(output["sqnr_db"])
    return {**output, "sqnr_db": math.inf} if exact else output
