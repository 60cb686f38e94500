"""A package that was proved on every unit is loaded so without a word; one bound to units has to be told."""

from pathlib import Path

import pytest

from slide_export.backends.coreml.plain import TYPES, plain_load


@pytest.mark.parametrize("mode", TYPES)
def test_all_units_are_the_default(mode: str) -> None:
    found = plain_load(Path("model.mlpackage"), {"mode": mode, "compute_units": "ALL"}, ())
    assert (found.same, found.options) == (True, {})
    assert TYPES[mode] in found.sentence


@pytest.mark.parametrize(
    ("units", "swift"),
    [("CPU_ONLY", ".cpuOnly"), ("CPU_AND_GPU", ".cpuAndGPU"), ("CPU_AND_NE", ".cpuAndNeuralEngine")],
)
def test_fewer_units_have_to_be_set(units: str, swift: str) -> None:
    found = plain_load(Path("model.mlpackage"), {"mode": "typed", "compute_units": units}, ())
    assert (found.same, found.options) == (False, {"computeUnits": swift})
