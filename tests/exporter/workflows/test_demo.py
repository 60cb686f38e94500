"""The first minute: the digits model keeps its accuracy through the export."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.backends import registry
from slide_export.backends.interface import Availability
from slide_export.workflows import demo
from slide_export.workflows.demo import run_demo

GOAL = 0.98  # held-out accuracy of the bundled model


FIRST_MINUTE = ("coreml", "onnx", "openvino", "tensorrt")
"""What `make demo` installs; the others take longer, and a bundle of each is proved elsewhere."""


@pytest.mark.parametrize(
    ("targets", "images"), [(FIRST_MINUTE, 8), pytest.param(registry.names(), 64, marks=pytest.mark.slow)]
)
def test_accuracy_survives_the_export(
    targets: tuple[str, ...], images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "names", lambda: targets)
    monkeypatch.setattr(demo, "PARITY_IMAGES", images)
    pytorch, *exported = run_demo(tmp_path)
    assert pytorch.accuracy is not None
    assert pytorch.accuracy >= GOAL
    assert exported
    assert all(row.accuracy in (pytorch.accuracy, None) for row in exported)
    assert sum(row.accuracy is not None for row in exported) >= 3  # all but TensorRT run without a GPU
    assert all(row.max_abs <= row.limit for row in exported)


def test_what_ships_is_proved_on_64_images() -> None:
    assert demo.PARITY_IMAGES == 64


def test_a_target_that_is_not_installed_is_the_last_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PARITY_IMAGES", 8)
    told = registry.availability

    def availability(target: str) -> Availability:
        """What is installed, but for one target."""
        found = told(target)
        return replace(found, missing=("a-package",)) if target == "coreml" else found

    monkeypatch.setattr(registry, "names", lambda: ("coreml", "onnx"))
    monkeypatch.setattr(registry, "availability", availability)
    *_, made, absent = run_demo(tmp_path)
    assert made.what == "onnx fp32"
    assert (absent.what, absent.accuracy) == ("coreml", None)
    assert absent.absent.startswith("pip install")
