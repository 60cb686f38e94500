"""Another Python of this machine as a place."""

import sys

import pytest

from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark import environment
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.devices.command import Command
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, MeasurementError, RequestError


def test_a_measurement_by_the_runner_is_a_result(onnx_bundle: Bundle) -> None:
    with Command("the other", (sys.executable,)) as place:
        protocol = latency.plan(2, 3, 1, place)
        found = benchmark.bench([onnx_bundle.path], protocol, place=place)
    assert protocol.affinity == environment.usable()[:1]
    assert [len(calls) for calls in found.runs[0].rounds_ms] == [3, 3]
    assert found.environment.cpu == environment.fingerprint("", 1, ()).cpu
    assert found.environment.device == "the other"


def test_a_python_without_the_runtime_is_told(onnx_bundle: Bundle) -> None:
    with Command("the other", (sys.executable, "-S")) as place:
        with pytest.raises(BackendUnavailable, match="numpy and onnxruntime and onnx on the other, found none"):
            place.prepare([onnx_bundle.manifest])
        with pytest.raises(RequestError, match="expected a precision of"):
            place.readiness("onnx", "fp8")


def test_a_python_that_does_not_start_is_told() -> None:
    with (
        Command("the other", (sys.executable, "--no-such-option")) as place,
        pytest.raises(MeasurementError, match=r"the runner on the other to run, its process crashed \(exit code 2\)"),
    ):
        place.processors()
