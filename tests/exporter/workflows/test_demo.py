"""The first minute: the digits model keeps its accuracy through the export."""

from pathlib import Path

from slide_export.workflows.demo import run_demo

GOAL = 0.98  # held-out accuracy of the bundled model


def test_accuracy_survives_the_export(tmp_path: Path) -> None:
    pytorch, *exported = run_demo(tmp_path)
    assert pytorch.accuracy is not None
    assert pytorch.accuracy >= GOAL
    assert exported
    assert all(row.accuracy in (pytorch.accuracy, None) for row in exported)
    assert sum(row.accuracy is not None for row in exported) >= 3  # all but TensorRT run without a GPU
    assert all(row.max_abs <= row.limit for row in exported)
