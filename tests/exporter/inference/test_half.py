"""A module in float16 takes and gives what it did: floats are cast at its ends, bytes and decisions are not."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.inference.half import in_half


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += [x.dtype, pictures.dtype]
        y = self.layer(x)
        self.seen.append(y.dtype)
        return y, y.argmax(dim=1)


def test_only_floats_are_cast_and_only_inside() -> None:
    torch.manual_seed(0)
    wrapper = Wrapper()
    exact = wrapper.layer(torch.ones(1, 2))
    module: Any = SimpleNamespace(half=wrapper.half, wrapper=wrapper)
    assert in_half(module) is module
    scores, decision = wrapper(torch.ones(1, 2), torch.zeros(1, dtype=torch.uint8))
    assert wrapper.seen == [torch.float16, torch.uint8, torch.float16]
    assert (scores.dtype, decision.dtype) == (torch.float32, torch.int64)
    assert 0 < (scores - exact).abs().max() <= 2 * 2**-11 * (exact.abs().max() + 2)  # two products, a bias, a half each
