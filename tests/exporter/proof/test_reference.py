"""The reference is the trained model in float64, its floor the same model at a precision, image by image."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.calibration.images import bundled
from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.core.precision import FP16, FP32
from slide_export.inference.export_wrapper import ExportWrapper
from slide_export.inference.served import serve
from slide_export.models import DataConfig
from slide_export.proof.reference import rerun, subset, told_by, with_floor
from tests.conftest import reference_of
from tests.models.test_sorting import Once

IMAGES = bundled().spread(3)


def test_it_is_computed_again_from_its_own_feeds_alone(model: Model) -> None:
    served, made = serve(model, ModelIO()), reference_of(model, IMAGES, ModelIO())
    made.exact["logits"][0] += 1
    again = rerun(served, made, NumericFormat(FP32))
    with torch.inference_mode():
        expected = copy.deepcopy(model.module).double()(torch.from_numpy(made.feeds["images"]).double()).numpy()
    assert np.abs(again.exact["logits"] - expected).max() < 1e-12  # float64, summed in another order
    assert again.images == made.images


def test_a_smaller_type_has_a_larger_floor_and_leaves_the_truth_alone(model: Model) -> None:
    served, single = serve(model, ModelIO()), reference_of(model, IMAGES, ModelIO())
    half = with_floor(served, single, NumericFormat(FP16))
    floors = [np.abs(one.rounded["logits"] - one.exact["logits"]).max() for one in (single, half)]
    assert 100 * floors[0] < floors[1] < 0.1
    assert half.exact is single.exact


def test_a_subset_is_the_first_images_of_everything(model: Model) -> None:
    made = reference_of(model, IMAGES, ModelIO())
    two = subset(made, 2)
    assert two.images == made.images[:2]
    for ours, theirs in ((two.feeds, made.feeds), (two.exact, made.exact), (two.rounded, made.rounded)):
        assert all(np.array_equal(ours[name], value[:2]) for name, value in theirs.items())


@pytest.mark.parametrize("sorts", [False, True])
def test_only_a_model_that_sorts_is_asked_for_its_orders(sorts: bool) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sort = Once() if sorts else nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(images.dtype)
            keys = images.flatten(2)
            if sorts:
                (order,), _ = self.sort(keys[:, :1])
                return order.float()
            return keys

    calls: list[torch.dtype] = []
    exact, other = (ExportWrapper(Module(), DataConfig(), ModelIO()).eval() for _ in range(2))
    picture = torch.rand(1, 3, 2, 2)
    with told_by(exact.double(), (picture.double(),), other):
        assert calls == ([torch.float64] if sorts else [])
