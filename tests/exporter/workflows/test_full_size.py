"""Every variant at its full size, to every target in both precisions, proved on photographs. Minutes: `make slow`."""

from pathlib import Path

import pytest
import torch

from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.models import family_of, variants
from slide_export.workflows import export as pipeline
from tests.targets import batch_of, made_here

HALF_GOAL_DB = 50.0  # SQNR of fp16 against float64 on real images
EVALUATOR_GOAL = 1e-5  # CoreML in float32 against float64 PyTorch
IMAGES = 2


@pytest.fixture(scope="module", params=variants())
def full_size(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, path = family_of(request.param), tmp_path_factory.mktemp("full") / f"{request.param}.pth"
    torch.manual_seed(0)
    torch.save({"model": family.build(family.variants[request.param]).state_dict()}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), made_here(("fp32", "fp16")))
def test_variant_is_proved(full_size: Path, target: str, precision: str, tmp_path: Path) -> None:
    io = ModelIO(batch=batch_of(target))
    recipe = ExportRequest(full_size, target, precision, out=tmp_path, image_count=IMAGES, interface=io)
    parity = pipeline.export(recipe).manifest.parity
    (output,) = parity.outputs
    assert parity.passed
    assert parity.top1 == 1.0 or all(flip.margin < output.limit_max for flip in parity.flips)
    if precision == "fp16":
        assert output.sqnr_db >= HALF_GOAL_DB
    if (target, precision) == ("coreml", "fp32"):
        assert output.max_abs <= EVALUATOR_GOAL
