"""A device over ssh: a real sshd on loopback, whose Python has the runtimes already."""

from pathlib import Path

import slide_export
from slide_export.types import Bundle

from .sshd import Device


def test_a_measurement_over_ssh_holds_what_was_asked(device: Device, bundle: Bundle) -> None:
    found = slide_export.bench([bundle.path, bundle.path], rounds=3, calls=2, threads=1, device=device.url)
    assert [[len(calls) for calls in run.rounds_ms] for run in found.runs] == [[2, 2, 2]] * 2
    assert found.environment.device == device.url
    assert device.left() == []
