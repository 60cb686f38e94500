"""CoreML's half of the engine, against a stand-in that answers as coremltools' `MLModel.predict` is documented to."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

ct = pytest.importorskip("coremltools", reason="coremltools is not installed")

from slide_export.mil import Evaluator, MilError, Package, engine  # noqa: E402  # after the skip
from slide_export.mil.convert import Form, save  # noqa: E402

LABELS = ("red", "green", "blue")


class Brightest(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.mean(dim=(2, 3)).softmax(dim=-1),)


class StandIn:
    """Takes what `MLModel` takes; answers with a dictionary of labels where the package is a classifier."""

    def __init__(self, path: str, compute_units: Any) -> None:
        self.package, self.units = Package.read(path), compute_units
        if compute_units == ct.ComputeUnit.CPU_ONLY:
            raise RuntimeError("no such device")

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        (value,) = data.values()
        if not isinstance(value, Image.Image):
            raise ValueError("a picture was expected")
        found = Evaluator(self.package).run({"images": np.asarray(value)})
        shuffled = dict(sorted(zip(LABELS, found["probabilities"].tolist(), strict=True)))
        return {"classLabel": str(found["classLabel"]), "probabilities": shuffled}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    form = Form(("images",), (3, 4, 6), (1,), True, ("probabilities",), LABELS, "fp32", "iOS16")
    save(Brightest(), tmp_path / "model.mlpackage", form, {})
    monkeypatch.setattr(engine, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(ct.models, "MLModel", StandIn)
    return Package.read(tmp_path / "model.mlpackage")


def test_a_prediction_names_its_units_and_keeps_the_order_of_labels(package: Package) -> None:
    picture = np.random.default_rng(0).integers(0, 3, (4, 6, 3), dtype=np.uint8)
    predictor = engine.start(package, "float32", "CPU_AND_NE", LABELS)
    found = predictor.run({"images": picture})
    exact = torch.from_numpy(picture).double().mean(dim=(0, 1)).softmax(dim=-1)
    assert predictor.name == "predicted on macOS (CPU_AND_NE)"
    assert found["probabilities"] == pytest.approx(exact.tolist(), abs=1e-6)
    assert found["classLabel"] == LABELS[int(exact.argmax())]


def test_what_coreml_refuses_is_one_error(package: Package) -> None:
    with pytest.raises(MilError, match=r"CoreML cannot load .*no such device"):
        engine.start(package, "float32", "CPU_ONLY", LABELS)
    with pytest.raises(MilError, match="CoreML cannot run the package: a picture was expected"):
        engine.start(package, "float32", "ALL", LABELS).run({"images": np.zeros((1, 3, 4, 6), np.float32)})
