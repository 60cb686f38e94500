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
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from slide_export.core import files, typed_json
from slide_export.core.errors import BundleError
from slide_export.core.measurement import (
    DERIVED,
    PERCENTILES,
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Comparison,
    Environment,
    Interval,
    ModuleTime,
    Verdict,
)

SCHEMA = "slide-export/result/1"


def to_json(result: BenchmarkResult) -> str:
    """JSON text of a result, its schema named first."""
    return typed_json.dumps({"schema": SCHEMA, **asdict(result)}, indent=2) + "\n"


def from_json(text: str, source: str) -> BenchmarkResult:
    """Result in a JSON text.

    Args:
        source: the file's name, for the message.

    Raises:
        BundleError: it is no result of this schema.
    """
    try:
        content = json.loads(text)
        found = content.pop("schema")
        if found != SCHEMA:
            raise BundleError(f"expected a result of schema {SCHEMA}, found {found!r} in {source}")
        protocol = BenchProtocol(**_tuples(content["protocol"], "affinity"))
        runs = tuple(_run(run, protocol.confidence) for run in content["runs"])
        environment = Environment(**_tuples(content["environment"], "flags", "warnings"))
        return BenchmarkResult(content["measured"], environment, protocol, runs, _comparisons(content, runs, protocol))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"expected a result of `slide-export bench` in {source}, found none: {error}") from error


def read(path: Path) -> BenchmarkResult:
    """Result in a file.

    Raises:
        BundleError: the file cannot be read or holds no result.
    """
    try:
        return from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"expected a result file, {path} cannot be read: {error}") from error


def write(result: BenchmarkResult, path: Path) -> None:
    """Write the result, whole or not at all.

    Raises:
        RequestError: nothing can be written there.
    """
    files.write(path, to_json(result))


def _tuples(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The content with its lists of these names as tuples."""
    return {**content, **{name: tuple(content[name]) for name in names if name in content}}


def _run(content: Mapping[str, Any], confidence: float) -> ArtifactTiming:
    rounds_ms = tuple(tuple(calls) for calls in content["rounds_ms"])
    written = {name: value for name, value in content.items() if name not in DERIVED}
    return ArtifactTiming(
        **{
            **written,
            **_derived(content, rounds_ms, confidence),
            "subject": ArtifactInfo(**_tuples(content["subject"], "image_size")),
            "rounds_ms": rounds_ms,
            "profile": tuple(ModuleTime(**line) for line in content.get("profile", ())),
        }
    )


def _derived(content: Mapping[str, Any], rounds_ms: tuple[tuple[float, ...], ...], confidence: float) -> dict[str, Any]:
    """The computed fields as they are written; all of them computed again where one is missing."""
    if all(name in content for name in DERIVED):
        percentiles = {name: Interval(**content[name]) for name in PERCENTILES}
        return {**percentiles, "images_per_s": content["images_per_s"]}
    from .statistics import summarize  # SciPy takes a second to import

    found = summarize(rounds_ms, content["batch"], confidence)
    return {name: getattr(found, name) for name in DERIVED}


def _comparisons(
    content: Mapping[str, Any], runs: tuple[ArtifactTiming, ...], protocol: BenchProtocol
) -> tuple[Comparison, ...]:
    if "comparisons" in content:
        return tuple(_comparison(one) for one in content["comparisons"])
    from .statistics import comparisons

    return tuple(comparisons(runs, protocol))


def _comparison(content: Mapping[str, Any]) -> Comparison:
    verdict = content["verdict"]
    if verdict not in get_args(Verdict):
        raise ValueError(f"no verdict: {verdict!r}")
    return Comparison(**{**content, "ratio": Interval(**content["ratio"])})
