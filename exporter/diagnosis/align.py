"""Values of an artifact beside the outputs of the trained modules: whose call each is of, and in which layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from slide_export.core.artifact import Array

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Orders of a map's axes that put its channels last, and first."""


def aligned(expected: Mapping[str, Sequence[Tensor]], found: Mapping[str, Sequence[Array]]) -> dict[str, list[Tensor]]:
    """Artifact's values as float64 tensors in the shapes of the trained outputs, call by call.

    A module of which a value has another size is dropped.

    Args:
        expected: outputs of each module, one a call.
        found: as many values, in any order.
    """
    tensors = {name: [torch.from_numpy(np.asarray(value, np.float64)) for value in found[name]] for name in expected}
    return {
        name: _by_call(tensors[name], outputs)
        for name, outputs in expected.items()
        if sorted(map(torch.numel, tensors[name])) == sorted(map(torch.numel, outputs))
    }


def _by_call(values: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    """The value of each call. Branches may be computed in any order: of those of one size the nearest are a pair."""
    views = {
        (call, index): _laid_out(value, output)
        for call, output in enumerate(outputs)
        for index, value in enumerate(values)
        if value.numel() == output.numel()
    }
    found: dict[int, int] = {}
    for call, index in sorted(views, key=lambda pair: _distance(views[pair], outputs[pair[0]])):
        if call not in found and index not in found.values():
            found[call] = index
    return [views[call, found[call]] for call in range(len(outputs))]


def _laid_out(value: Tensor, expected: Tensor) -> Tensor:
    """A value in the trained output's shape, with the channels of a map where that one has them.

    Converters move a transpose out of its module, and a map may stand for its tokens. Where channels are as many as
    rows, no shape tells the layout: of those that fit it is the nearest one.

        Given    [B, C, H, W] for the tokens [B, H * W, C]
        Result   [B, H, W, C] in their shape
    """
    views = [value, *(value.permute(order) for order in (TO_LAST, TO_FIRST) if value.ndim == len(order))]
    fitting = [view for view in views if _fits(view.shape, expected.shape)] or [value]
    return min((view.reshape(expected.shape) for view in fitting), key=lambda view: _distance(view, expected))


def _fits(found: torch.Size, expected: torch.Size) -> bool:
    """Whether a value has the shape of the trained output, or is a map of which that is the tokens."""
    return found == expected or (len(found), len(expected), found[-1]) == (4, 3, expected[-1])


def _distance(value: Tensor, output: Tensor) -> float:
    """Power of the difference; infinite where a value is not finite, which is near to nothing."""
    found = power(value - output)
    return found if math.isfinite(found) else math.inf


def power(values: Tensor) -> float:
    """Sum of squares."""
    return float(values.square().sum())
