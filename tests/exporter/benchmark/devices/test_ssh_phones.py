"""The phones' runtimes on a device over ssh: the kept LiteRT bundle in seconds, the others where they are exported."""

import dataclasses
from pathlib import Path

import pytest

import slide_export
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.workflows import export as pipeline
from tests.exporter.benchmark.devices.sshd import Device
from tests.targets import batch_of, missing

LITERT = Path(__file__).parents[2] / "backends" / "litert" / "digits-litert-fp32"


def proved_and_measured_there(bundle: Path, device: Device) -> None:
    here, there = slide_export.verify(bundle), slide_export.verify(bundle, device=device.url)
    assert there.evaluator == f"{here.evaluator}, on {device.url}"
    assert dataclasses.replace(there, evaluator=here.evaluator) == here
    found = slide_export.bench([bundle], rounds=2, calls=1, threads=1, device=device.url)
    assert [[len(calls) for calls in run.rounds_ms] for run in found.runs] == [[1, 1]]
    assert device.left() == []


def test_litert_is_proved_and_measured_there(device: Device) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    proved_and_measured_there(LITERT, device)


@pytest.mark.slow
@pytest.mark.parametrize("target", [pytest.param(name, marks=missing(name)) for name in ("executorch", "ncnn")])
def test_the_others_are_proved_and_measured_there(
    target: str, device: Device, checkpoint: Path, tmp_path: Path
) -> None:
    io = ModelIO(batch=batch_of(target))
    made: Bundle = pipeline.export(ExportRequest(checkpoint, target, out=tmp_path, image_count=2, interface=io))
    proved_and_measured_there(made.path, device)
