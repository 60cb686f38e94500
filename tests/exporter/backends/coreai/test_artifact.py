"""What is refused of a model before it is converted, and of an asset once it has run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.backends.coreai import artifact, session
from slide_export.backends.coreai.settings import Settings
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import LARGEST_BATCH, Feeds, ModelIO, Outputs
from slide_export.core.errors import BundleError, LoweringError
from slide_export.core.model import Model
from slide_export.core.precision import FP16, FP32
from slide_export.inference import foreign_module
from slide_export.inference.served import ServedModel, serve

SETTINGS: Settings = {"inputs": ("images",), "outputs": ("logits",), "batch": None, "operations": 1}


class _Runs:
    """A session that answers as many rows as it is told, or says why it does not run."""

    said: BundleError | None = None
    rows: int | None = None
    fed: Feeds

    def __init__(self, _path: Path, _settings: Any) -> None:
        pass

    def run(self, feeds: Feeds) -> Outputs:
        if self.said is not None:
            raise self.said
        type(self).fed = feeds
        count = len(feeds["images"]) if self.rows is None else self.rows
        return {"logits": np.zeros((count, 10), np.float32)}


@pytest.fixture
def source(model: Model) -> ServedModel:
    return serve(replace(model, module=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()), ModelIO())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> type[_Runs]:
    made = type("_Told", (_Runs,), {})
    monkeypatch.setattr(session, "Session", made)
    return made


def test_modules_that_half_does_not_hold_are_named(source: ServedModel) -> None:
    artifact._refuse_half(source)
    kept = replace(source, trained=replace(source.trained, float32=("head", "norm")))
    with pytest.raises(LoweringError, match="keeps head, norm in float32: take fp32"):
        artifact._refuse_half(kept)


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_they_are_refused_in_half_alone_and_before_the_conversion(
    precision: Any, source: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Converted(Exception):
        pass

    def convert(*_given: object, **_more: object) -> None:
        raise Converted

    monkeypatch.setattr(foreign_module, "export_program", convert)
    kept = replace(source, trained=replace(source.trained, float32=("head",)))
    with pytest.raises(LoweringError if precision == FP16 else Converted):
        artifact.lower(kept, tmp_path, LoweringOptions(precision, kept.io))


@pytest.mark.parametrize(("batch", "coupled", "largest"), [(None, 1, LARGEST_BATCH), (None, 3, None), (2, 1, None)])
def test_an_open_batch_ends_at_a_whole_number_of_groups(
    batch: int | None,
    coupled: int,
    largest: int | None,
    source: ServedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr(ServedModel, "coupled", property(lambda _self: coupled))
    monkeypatch.setattr(foreign_module, "export_program", lambda *_given, largest: asked.append(largest))
    monkeypatch.setattr(foreign_module, "save_program", lambda *_given: None)
    monkeypatch.setattr(artifact.script, "run", lambda *_given: {"functions": ["main"]})
    options = LoweringOptions(FP32, replace(source.io, batch=batch))
    assert artifact._convert(source, options, tmp_path / "model.aimodel") == ("main",)
    if batch is None and coupled > 1:
        largest = LARGEST_BATCH - LARGEST_BATCH % coupled
    assert asked == [largest]


@pytest.mark.parametrize(("batch", "coupled", "count"), [(None, 1, 1), (None, 2, 2), (4, 2, 4)])
def test_an_asset_is_run_at_the_smallest_batch_that_it_takes(
    batch: int | None,
    coupled: int,
    count: int,
    source: ServedModel,
    runs: type[_Runs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ServedModel, "coupled", property(lambda _self: coupled))
    found = artifact._run_once(source, Path("model.aimodel"), {**SETTINGS, "batch": batch})
    assert (len(runs.fed["images"]), len(found["logits"])) == (count, count)
    assert isinstance(source.example()[0], torch.Tensor)


def test_an_asset_that_gives_other_results_or_does_not_run_is_refused(source: ServedModel, runs: type[_Runs]) -> None:
    runs.rows = 1
    with pytest.raises(LoweringError, match=r"expected 4 results in one call, found outputs of \(1, 10\)"):
        artifact._run_once(source, Path("model.aimodel"), {**SETTINGS, "batch": 4})
    runs.said = BundleError("expected an asset that takes what it declares")
    with pytest.raises(LoweringError, match="found it does not: expected an asset that takes what it declares"):
        artifact._run_once(source, Path("model.aimodel"), SETTINGS)
