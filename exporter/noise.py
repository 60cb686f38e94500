"""What a precision costs the trained model: the same PyTorch module, rounded as a device of that precision would."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import RequestError


class _RoundToHalf(TorchDispatchMode):
    """Rounds every float32 result to float16 and back: fp16 storage between operators, float32 inside them.

    That is what the fp16 graphs do: softmax, LayerNorm and sums keep float32 interiors.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.is_view:
            return result
        if isinstance(result, tuple | list):
            return type(result)(map(_half, result))
        return _half(result)


def _half(value: Any) -> Any:
    return value.half().float() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def at_precision(module: nn.Module, precision: str) -> nn.Module:
    """Returns a module that computes as `precision` would: fp32 as it is, fp16 with rounded weights and results."""
    if precision == "fp32":
        return module
    if precision == "fp16":
        return _Half(module)
    raise RequestError(f"expected a precision with a noise floor, fp32 or fp16; found {precision!r}")


class _Half(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.rounded = copy.deepcopy(module).half().float()

    def forward(self, images: Tensor) -> Any:
        with _RoundToHalf():  # type: ignore[no-untyped-call]
            return self.rounded(images)
