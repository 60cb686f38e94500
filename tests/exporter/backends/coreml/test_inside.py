"""What a package shows of its inside: values on the way, and the time of each operation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends.coreml import inside
from slide_export.backends.coreml.inside import intermediates, profile, values
from slide_export.core.errors import BundleError, RequestError
from slide_export.mil import Package
from tests.exporter.backends.coreml.test_session import ONES, SETTINGS


def test_values_depend_on_an_input_and_are_given(doubled: Package) -> None:
    found = values(doubled.path, SETTINGS)
    assert [(one.name, one.takes) for one in found] == [("twice", ("x",)), ("y", ("twice",))]
    session = intermediates(doubled.path, SETTINGS, ["twice"])
    shown = session.run({"x": -ONES})
    assert shown.keys() == {"twice"}
    assert shown["twice"].tolist() == [[-2] * 3] * 2
    assert session.evaluator.endswith("(float32)")  # type: ignore[attr-defined]


def test_what_depends_on_no_input_is_not_shown(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 3))])
    def program(x: Any) -> Any:
        noise = Builder.random_uniform(shape=np.array([2, 3]), name="noise")  # any other is folded to a constant
        return Builder.add(x=x, y=noise, name="y")

    package = save(program, "fp32")
    computing = [one.type for one in package.operations() if not one.is_constant]
    assert computing == ["random_uniform", "add"]
    assert [one.name for one in values(package.path, SETTINGS)] == ["y"]


@pytest.mark.parametrize("batches", [1, 2])
def test_every_operation_has_the_median_of_its_calls(batches: int, doubled: Package) -> None:
    """A batch of two pieces takes both: the time of an operation is their sum."""
    found = profile(doubled.path, SETTINGS, {"x": np.concatenate([ONES] * batches)}, 3)
    assert [(line.operator, line.kind) for line in found] == [("mul", "other"), ("relu", "other")]
    assert all(line.ms > 0 for line in found)


def test_warm_calls_are_not_counted(doubled: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    from slide_export.mil import timing

    calls = iter(range(100))
    monkeypatch.setattr(timing, "spent_ms", lambda *_: {"y": float(next(calls))})
    (line,) = profile(doubled.path, SETTINGS, {"x": ONES}, 3)
    assert line.ms == 3.0  # the calls after two warm ones took 2, 3 and 4


def test_on_macos_coremls_own_instrument_is_named(doubled: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "substitute_runtime", lambda: None)
    with pytest.raises(RequestError, match="on macOS: Xcode's Core ML instrument shows its times"):
        profile(doubled.path, SETTINGS, {"x": ONES}, 1)


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path, doubled: Package) -> None:
    with pytest.raises(BundleError, match="expected an ML Program at"):
        intermediates(tmp_path, SETTINGS, ())
    with pytest.raises(BundleError, match="expected a package that takes what it declares"):
        intermediates(doubled.path, SETTINGS, ["y"]).run({"x": np.ones((2, 5), np.float32)})
