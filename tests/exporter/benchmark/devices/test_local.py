"""This machine as a device, and the words that name devices."""

from pathlib import Path

import pytest

from slide_export.benchmark import environment
from slide_export.benchmark.devices import connect, connect_for_proof
from slide_export.benchmark.devices.local import LOCAL_DEVICE, LocalDevice
from slide_export.benchmark.plan import DeviceRequest
from slide_export.core.errors import BackendUnavailable, RequestError


def test_a_name_is_for_this_machine() -> None:
    with connect(DeviceRequest("my laptop")) as device:
        assert isinstance(device, LocalDevice)
        assert device.fingerprint(1, ())[0].device == "my laptop"


def test_paths_and_processors_are_this_machines() -> None:
    assert LOCAL_DEVICE.put(Path("x")) == Path("x")
    assert LOCAL_DEVICE.processors() == environment.usable()


def test_a_target_that_is_not_installed_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide_export.backends.registry._first_installed", lambda alternatives: {})
    with pytest.raises(BackendUnavailable, match="found it not installed"):
        LOCAL_DEVICE.readiness("onnx", "fp32")


@pytest.mark.parametrize("options", [{"keep": True}, {"runner": Path("x")}])
def test_options_of_devices_are_refused_for_this_machine(options: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="found"):
        connect(DeviceRequest("my laptop", **options))  # type: ignore[arg-type]


def test_a_proof_needs_a_device_that_gives_outputs() -> None:
    with pytest.raises(RequestError, match=r"expected ssh://.* for a proof, found 'my laptop'"):
        connect_for_proof("my laptop")
