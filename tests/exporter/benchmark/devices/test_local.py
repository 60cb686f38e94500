"""This machine as a place, and the words that name places."""

from pathlib import Path

import pytest

from slide_export.benchmark import devices as places
from slide_export.benchmark import environment
from slide_export.benchmark.devices.local import LOCAL_DEVICE, LocalDevice
from slide_export.core.errors import BackendUnavailable, RequestError


def test_a_name_is_for_this_machine() -> None:
    with places.at("my laptop") as place:
        assert isinstance(place, LocalDevice)
        assert place.fingerprint(1, ())[0].device == "my laptop"


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
        places.at("my laptop", **options)  # type: ignore[arg-type]


def test_a_proof_needs_a_place_that_gives_outputs() -> None:
    with pytest.raises(RequestError, match=r"expected ssh://.* for a proof, found 'my laptop'"):
        places.proving_at("my laptop")
