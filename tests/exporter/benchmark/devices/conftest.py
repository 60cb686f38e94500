"""Devices on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy_examples.conftest import require
from tests.exporter.benchmark.devices.sshd import Device

Start = Callable[..., Device]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Returns what starts a device, with the arguments of `Device` beside its root, and lets ssh reach it."""
    require("ssh", "ssh-keygen", "/usr/sbin/sshd")
    devices: list[Device] = []

    def begin(**options: str) -> Device:
        root = tmp_path / f"device{len(devices)}"
        root.mkdir()
        devices.append(Device(root, **options))
        monkeypatch.setenv("SLIDE_EXPORT_SSH", devices[-1].options)
        return devices[-1]

    yield begin
    for device in devices:
        device.stop()


@pytest.fixture
def device(start: Start) -> Device:
    return start()
