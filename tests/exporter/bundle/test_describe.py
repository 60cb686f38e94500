"""What a manifest says of the export that made it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from slide_export.bundle.describe import _dtype_stats, _shipped_bytes
from slide_export.bundle.records import (
    AccuracyRecord,
    DtypeRecord,
    HitsRecord,
    ParityRecord,
    PreprocessingRecord,
    StageRecord,
)
from slide_export.calibration.accuracy import AccuracyReport, Hits
from slide_export.core.artifact import Artifact, DtypeStats
from slide_export.core.measurement import StageTimes
from slide_export.core.precision import INT8
from slide_export.core.proof import ParityReport
from slide_export.models import DataConfig


@pytest.mark.parametrize(
    ("found", "record"),
    [
        (ParityReport, ParityRecord),
        (AccuracyReport, AccuracyRecord),
        (Hits, HitsRecord),
        (DtypeStats, DtypeRecord),
        (StageTimes, StageRecord),
        (DataConfig, PreprocessingRecord),
    ],
)
def test_a_record_has_every_field_of_what_was_found(found: Any, record: Any) -> None:
    assert {field.name for field in fields(found)} <= {field.name for field in fields(record)}


def test_the_counts_survive_the_record() -> None:
    found = DtypeStats({"int8": 3}, {"float32": 1}, fixed=False, marked=2, counted=False)
    assert _dtype_stats(found, INT8).stats == found


@pytest.mark.parametrize(("graph", "expected"), [(None, 17), ("model.onnx", 10)], ids=["all of it", "the plan alone"])
def test_the_graph_that_an_artifact_was_built_from_does_not_ship(
    graph: str | None, expected: int, tmp_path: Path
) -> None:
    (tmp_path / "model.plan").write_bytes(bytes(10))
    (tmp_path / "model.onnx").write_bytes(bytes(7))  # without a graph: the weights beside an OpenVINO IR, say
    artifact = Artifact("t", "fp32", tmp_path / "model.plan", (), (), graph=tmp_path / graph if graph else None)
    assert _shipped_bytes(artifact) == expected
