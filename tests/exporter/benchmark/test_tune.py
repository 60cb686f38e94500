"""Forms are measured in the target's own runtime, stage by stage, and the fastest is remembered and taken."""

import json
from pathlib import Path

import pytest

from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.benchmark import rounds as latency
from slide_export.benchmark import tune
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.precision import FP32
from slide_export.core.request import ExportRequest
from slide_export.inference.choose import forms_of_layer, stages_of
from slide_export.inference.forms import FORMS
from slide_export.inference.fuse import fuse
from slide_export.workflows import export as pipeline

ORDER = LoweringOptions(FP32, ModelIO(), backends.complete_options("onnx", {}))
TWO = ("taps", "grouped")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two forms, few calls, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    two = {name: FORMS[name] for name in TWO}
    monkeypatch.setattr(tune, "forms_of_layer", lambda layer: two if forms_of_layer(layer) is FORMS else None)
    monkeypatch.setattr(tune, "ROUNDS", 2)
    monkeypatch.setattr(tune, "CALLS", 1)


@pytest.fixture
def no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(latency, "measure", refuse)


def remember(model: Model, *medians: dict[str, float]) -> None:
    """Writes times for each stage as if they had been measured here."""
    fused = fuse(model)
    sizes = tune._sizes(fused)
    for name, times in zip(stages_of(fused).values(), medians, strict=True):
        tune._remember(tune._fingerprint("onnx", ORDER, fused.module.get_submodule(name), sizes[name])[1], times)


def test_every_form_of_every_stage_is_measured(model: Model) -> None:
    stages = tune.tune(fuse(model), "onnx", ORDER)
    assert [(stage.size, set(stage.ms)) for stage in stages] == [((16, 16, 16), set(TWO)), ((8, 8, 32), set(TWO))]
    assert all(ms > 0 for stage in stages for ms in stage.ms.values())
    assert len(json.loads(tune.remembered().read_text())) == 2


def test_what_was_measured_is_remembered_and_the_fastest_is_taken(model: Model, no_measurement: None) -> None:
    remember(model, {"taps": 1.0, "grouped": 2.0}, {"taps": 2.0, "grouped": 1.0})
    assert [stage.fastest for stage in tune.tune(fuse(model), "onnx", ORDER)] == ["taps", "grouped"]


def test_the_choice_and_its_times_are_in_the_manifest(model: Model, checkpoint: Path, tmp_path: Path) -> None:
    remember(model, {"taps": 1.0, "grouped": 2.0}, {"taps": 2.0, "grouped": 1.0})
    made = pipeline.export(ExportRequest(checkpoint, tune=True, out=tmp_path, image_count=1)).manifest
    assert made.options.form == "taps,grouped"
    assert [stage.ms["taps"] for stage in made.tuning] == [1.0, 2.0]


def test_a_damaged_memory_is_measured_anew(model: Model) -> None:
    tune.remembered().parent.mkdir(parents=True)
    tune.remembered().write_text('{"half a file')
    assert len(tune.tune(fuse(model), "onnx", ORDER)) == 2


def test_a_target_that_does_not_run_here_is_refused(model: Model) -> None:
    with pytest.raises(RequestError, match="found coreml"):
        tune.tune(fuse(model), "coreml", ORDER)


def test_tuning_and_naming_a_form_contradict_each_other(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="tune or form"):
        pipeline.export(ExportRequest(checkpoint, tune=True, form="taps", out=tmp_path, image_count=1))


@pytest.mark.parametrize("place", ["a file in the way", "no home"])
def test_a_memory_that_cannot_be_written_costs_no_measurement(
    place: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("in the way")
    if place == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", classmethod(lambda _: (_ for _ in ()).throw(RuntimeError("no home"))))
    remember(model, {"taps": 1.0, "grouped": 2.0}, {"taps": 2.0, "grouped": 1.0})
    said = "expected a home directory" if place == "no home" else f"expected to write {tmp_path / 'cache'}"
    assert len(caplog.messages) == 2
    assert all(message.startswith(f"the times are not remembered: {said}") for message in caplog.messages)
