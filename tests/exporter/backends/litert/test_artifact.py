"""A model is converted once while it lives, and again for another service; a dynamic batch is refused first."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from slide_export.backends.interface import LoweringOptions
from slide_export.backends.litert import artifact
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import LoweringError
from slide_export.core.model import Model
from slide_export.core.precision import FP32
from slide_export.inference.served import ServedModel, serve


@pytest.fixture
def source(model: Model) -> ServedModel:
    return serve(replace(model, module=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()), ModelIO(batch=1))


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[ModelIO]:
    """What was converted for; a conversion gives its number."""
    asked: list[ModelIO] = []

    def convert(source: ServedModel) -> bytes:
        asked.append(source.io)
        return b"%d" % len(asked)

    monkeypatch.setattr(artifact, "_convert", convert)
    return asked


def test_a_dynamic_batch_is_refused_before_the_conversion(
    source: ServedModel, converted: list[ModelIO], tmp_path: Path
) -> None:
    open_batch = replace(source, io=ModelIO())
    with pytest.raises(LoweringError, match="one fixed batch size, found a dynamic batch: give one with batch"):
        artifact.lower(open_batch, tmp_path, LoweringOptions(FP32, open_batch.io))
    assert (converted, list(tmp_path.iterdir())) == ([], [])


def test_every_precision_starts_from_one_conversion(source: ServedModel, converted: list[ModelIO]) -> None:
    assert [artifact._converted(source) for _ in range(2)] == [b"1", b"1"]
    assert converted == [ModelIO(batch=1)]


def test_another_service_or_module_is_converted_anew(source: ServedModel, converted: list[ModelIO]) -> None:
    artifact._converted(source)
    assert artifact._converted(replace(source, io=ModelIO(batch=2))) == b"2"
    assert artifact._converted(replace(source, module=nn.Identity())) == b"3"
    assert artifact._converted(source) == b"4"  # the last of a module is kept, no more


def test_nothing_is_kept_of_a_module_that_is_gone(model: Model, converted: list[ModelIO]) -> None:
    before = len(artifact._last)
    gone = serve(replace(model, module=nn.Identity().eval()), ModelIO(batch=1))
    artifact._converted(gone)
    assert len(artifact._last) == before + 1
    del gone
    gc.collect()
    assert len(artifact._last) == before
    assert len(converted) == 1
