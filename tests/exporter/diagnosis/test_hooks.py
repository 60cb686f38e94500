"""Modules are watched as they run, and fed with another model's values."""

import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.diagnosis.hooks import Values, anchored, recorded
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


def numbers(found: Values) -> dict[str, list[float]]:
    return {name: [value[0, 0].item() for value in values] for name, values in found.items()}


def test_outputs_of_each_call_by_name() -> None:
    found = recorded(serving(), ("first", "again"), (FED,))
    assert numbers(found) == {"first": [2], "again": [30, 150]}


def test_each_module_is_fed_with_the_other_values_and_shows_its_own_error_alone() -> None:
    other = {"first": (2.5,), "second": (7.0,), "again": (40.0, 160.0)}
    values = {name: [one * torch.ones(1, 2, dtype=torch.float64) for one in ones] for name, ones in other.items()}
    made = anchored(serving(), values, (FED,))
    assert numbers(made) == {"first": [2], "second": [7.5], "again": [35, 200]}


class TwoKinds(nn.Module):
    """A tensor the first time, a list of it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.called = 0

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        self.called += 1
        return x if self.called % 2 else [x]


def test_what_is_no_tensor_is_left_as_it_is() -> None:
    module, kinds = serving(), TwoKinds()
    model = next(part for part in module.modules() if isinstance(part, Twice))
    model.second, model.again = nn.Sequential(kinds), nn.Identity()
    model.forward = lambda images: model.second(images) + model.second(images)[0]  # type: ignore[method-assign]
    assert numbers(recorded(module, ("second.0",), (FED,))) == {"second.0": [1]}
    made = anchored(module, {"second.0": [5 * FED]}, (FED,))
    assert numbers(made) == {"second.0": [1]}


def test_no_hook_stays() -> None:
    module = serving()
    before = module(FED)[0]
    anchored(module, {"first": [torch.zeros(1, 2)]}, (FED,))
    assert torch.equal(module(FED)[0], before)
