"""Another Python of this machine as a device."""

import sys

import pytest

from slide_export.benchmark import bundles as benchmark
from slide_export.benchmark import environment
from slide_export.benchmark.devices.command import CommandDevice
from slide_export.benchmark.plan import BenchPlan
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, MeasurementError, RequestError


def test_a_measurement_by_the_runner_is_a_result(onnx_bundle: Bundle) -> None:
    with CommandDevice("the other", (sys.executable,)) as device:
        found = benchmark.bench([onnx_bundle.path], BenchPlan(rounds=2, calls=3, threads=1), device)
    assert found.protocol.affinity == environment.usable()[:1]
    assert [len(calls) for calls in found.runs[0].rounds_ms] == [3, 3]
    assert found.environment.cpu == environment.fingerprint("", 1, ()).cpu
    assert found.environment.device == "the other"


def test_a_python_without_the_runtime_is_told(onnx_bundle: Bundle) -> None:
    with CommandDevice("the other", (sys.executable, "-S")) as device:
        with pytest.raises(
            BackendUnavailable, match="numpy and onnxruntime and onnx and onnx_ir on the other, found none"
        ):
            device.prepare([onnx_bundle.manifest])
        with pytest.raises(RequestError, match="expected a precision of"):
            device.readiness("onnx", "fp8")


def test_a_python_that_does_not_start_is_told() -> None:
    with (
        CommandDevice("the other", (sys.executable, "--no-such-option")) as device,
        pytest.raises(MeasurementError, match=r"the runner on the other to run, its process crashed \(exit code 2\)"),
    ):
        device.processors()
