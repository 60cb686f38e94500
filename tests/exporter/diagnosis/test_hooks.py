"""Modules are watched as they run, and fed with another model's values."""

import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.diagnosis.hooks import anchored, each_call, recorded
from slide_export.inference.export_wrapper import ExportWrapper
from slide_export.models import DataConfig


class Twice(nn.Module):
    """first, second, and second once more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.again = (nn.Linear(2, 2, bias=False) for _ in range(3))
        for scale, layer in zip((2.0, 3.0, 5.0), (self.first, self.second, self.again), strict=True):
            layer.weight.data = scale * torch.eye(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.again(self.again(self.second(self.first(images))))


def serving() -> ExportWrapper:
    return ExportWrapper(Twice(), DataConfig(), ModelIO()).double()


FED = torch.ones(1, 2, dtype=torch.float64)


def test_outputs_by_name_and_a_module_that_runs_twice_has_none() -> None:
    found = recorded(serving(), ("first", "second", "again"), (FED,))
    assert {name: value[0, 0].item() for name, value in found.items()} == {"first": 2, "second": 6}


def test_outputs_of_each_call_in_order() -> None:
    found = each_call(serving(), ("second", "again"), (FED,))
    assert {name: [value[0, 0].item() for value in values] for name, values in found.items()} == {
        "second": [6],
        "again": [30, 150],
    }


def test_each_module_is_fed_with_the_other_values_and_shows_its_own_error_alone() -> None:
    other = {
        "first": 2.5 * torch.ones(1, 2, dtype=torch.float64),
        "second": 7.0 * torch.ones(1, 2, dtype=torch.float64),
    }
    made = anchored(serving(), other, (FED,))
    assert {name: value[0, 0].item() for name, value in made.items()} == {"first": 2, "second": 7.5}


def test_no_hook_stays() -> None:
    module = serving()
    before = module(FED)[0]
    anchored(module, {"first": torch.zeros(1, 2)}, (FED,))
    assert torch.equal(module(FED)[0], before)
