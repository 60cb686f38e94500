"""The stages that measure accuracy: shards of the images, counted apart and put together bit for bit.

in/prepared  in/evaluation/NAME                             -> reference  out: what the trained model answers
in/prepared  in/evaluation/NAME  in/bundle  in/reference    -> evaluate   out: counts of one shard
in/prepared  in/evaluation/NAME  in/counts/0 ...            -> merge      the accuracy, and whether it is enough
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.bundle import store as bundles
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.parts import FileRange, chunk_of, ranges
from slide_export.core import typed_json
from slide_export.core.request import AccuracyGoal
from slide_export.proof import accuracy, gate, recorded
from slide_export.proof.session import open_session
from slide_export.verification.opening import artifact_of
from slide_export.workflows import prepared_files
from slide_export.workflows.prepare import Prepared

from .exporting import INPUT, only

ANSWERS, COUNTS = "answers.npz", "counts.json"
OUT = Path("made")


def reference_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write what the trained model answers to one shard; the first shard tells whether the classes are its own."""
    options, prepared = order["spec"]["options"], prepared_files.read(INPUT / "prepared")
    goal = AccuracyGoal(_images())
    opened = accuracy.open_images if options["shard"] == 0 else accuracy.list_images
    data = opened(goal, prepared.served, prepared.store)
    OUT.mkdir()
    recorded.record(prepared.served, data, prepared.store, _part(options, prepared, data), OUT / ANSWERS)
    return {"exit_code": 0, "message": "", "output": str(OUT)}


def evaluate_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Count what an artifact answers to one shard beside the trained model's answers."""
    options, prepared = order["spec"]["options"], prepared_files.read(INPUT / "prepared")
    data = accuracy.list_images(AccuracyGoal(_images()), prepared.served, prepared.store)
    backend, path, graph, settings = artifact_of(bundles.read(INPUT / "bundle"))
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    session = open_session(backend, path, graph, {**settings, "threads": threads})
    answers = INPUT / "reference" / ANSWERS
    known = recorded.read(answers) if answers.is_file() else {}  # another sweep may have removed them: then computed
    trained = recorded.remembered(accuracy.of_pytorch(prepared.served), known)
    part = _part(options, prepared, data)
    counted = accuracy.count(trained, prepared.served, session, data, prepared.store, part)
    OUT.mkdir()
    (OUT / COUNTS).write_text(json.dumps(counted.plain(), allow_nan=False))
    return {"exit_code": 0, "message": "", "output": str(OUT)}


def merge_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Judge what the shards counted, as if one process had counted all of them."""
    options, prepared = order["spec"]["options"], prepared_files.read(INPUT / "prepared")
    goal = AccuracyGoal(_images(), options["max_drop"], options["min_sqnr_db"])
    data = accuracy.list_images(goal, prepared.served, prepared.store)
    places = sorted((INPUT / "counts").iterdir(), key=lambda place: int(place.name))
    counted = [json.loads((place / COUNTS).read_text()) for place in places]
    report = accuracy.conclude(counted, prepared.served, data, goal, prepared.store)
    plain = typed_json.finite(typed_json.plain(report))
    told = {"result": plain, "measures": _measures(report)}
    if report.passed:
        return {"exit_code": 0, "message": "", **told}
    return {"exit_code": 1, "message": gate.explain_accuracy(report), **told}


def _measures(report: AccuracyReport) -> dict[str, tuple[float | None, float | None, float | None]]:
    """Numbers for the report: what is lost with its interval, and how often the two answer alike."""
    numbers: dict[str, tuple[float | None, float | None, float | None]] = {}
    interval = report.interval or (None, None)
    for name in ("drop", "agreement", "sqnr_db"):
        value = getattr(report, name)
        if value is not None:
            low, high = interval if name == "drop" else (None, None)
            numbers[name] = (typed_json.finite(float(value)), low, high)
    return numbers


def _images() -> Path:
    found = only(INPUT / "evaluation")
    assert found is not None  # the plan links them
    return found


def _part(options: Mapping[str, Any], prepared: Prepared, data: EvaluationSet) -> FileRange:
    """The files of a shard; the last one takes what is left, and one too many takes none.

    The plan counts files, a task may take several for one sample: so the cut is made here, of what there is.
    """
    files, number = len(data.images.files), options["shard"]
    cut = ranges(files, chunk_of(prepared.served.task.measure), options["shard_images"])
    if number >= len(cut):
        return FileRange(files, files)
    stop = files if number == options["shards"] - 1 else cut[number].stop
    return FileRange(cut[number].start, stop)
