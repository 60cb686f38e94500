"""The first call that loses its values is found as calls end; what is lost between modules is the outer one's."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.core.precision import FP16
from slide_export.inference.export_wrapper import ExportWrapper
from slide_export.models import DataConfig
from slide_export.proof.first_loss import Call, FirstLoss, _loss, first_loss
from slide_export.proof.rounded import at_precision

IMAGE = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)


class Scaled(nn.Module):
    """The mean of each channel, times a factor between two modules and back behind them."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.pool, self.last, self.factor, self.shift = nn.AdaptiveAvgPool2d(1), nn.Identity(), factor, shift

    def forward(self, images: Tensor) -> Tensor:
        """Scores of three classes."""
        return self.last(self.pool(images) * self.factor + self.shift).flatten(1) / self.factor - self.shift


class Outer(nn.Module):
    """The same inside another module."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.body = Scaled(factor, shift)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of three classes."""
        scores: Tensor = self.body(images)
        return scores


def loss(module: nn.Module) -> FirstLoss:
    serving = ExportWrapper(module, DataConfig(), ModelIO()).eval()
    exact, half = copy.deepcopy(serving).double(), at_precision(serving, FP16)
    return first_loss(exact, (IMAGE.double(),), half, (IMAGE,), FP16.least_db)


def test_what_overflows_between_modules_is_inside_the_one_around() -> None:
    found = loss(Outer(1e6, 0.0))
    assert found.module == "body"
    assert math.isnan(found.centred_db)


def test_what_rounding_leaves_too_little_of_is_the_first_to_have_it() -> None:
    found = loss(Outer(1.0, 3000.0))
    assert found.module == "body.last"
    assert found.largest == pytest.approx(3000, rel=1e-3)
    assert found.centred_db < FP16.least_db


def test_what_is_left_may_be_just_what_has_to_be() -> None:
    serving = ExportWrapper(Outer(1.0, 3000.0), DataConfig(), ModelIO()).eval()
    exact, half = copy.deepcopy(serving).double(), at_precision(serving, FP16)
    images = ((IMAGE.double(),), half, (IMAGE,))
    found = first_loss(exact, *images, FP16.least_db)
    assert first_loss(exact, *images, found.centred_db).module != found.module
    assert first_loss(exact, *images, math.nextafter(found.centred_db, math.inf)) == found


def test_a_module_without_numbers_loses_none() -> None:
    assert _loss(Call("a.b", (), ()), Call("a.b", (), ())) == FirstLoss("a.b", 0.0, math.inf)


def test_of_several_outputs_the_one_that_loses_most_counts() -> None:
    value = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    called, rounded = Call("a", (), (value, value)), Call("a", (), (value * 1.01, value * 1.1))
    assert _loss(called, rounded).centred_db == pytest.approx(20.0)


def test_where_no_module_loses_anything_none_is_named() -> None:
    assert loss(Outer(1.0, 0.0)) == FirstLoss("", 0.0, math.inf)
