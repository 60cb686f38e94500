"""A model in float16 whose inputs and outputs stay as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .foreign_module import ForeignModule


def in_half(module: ForeignModule) -> ForeignModule:
    """Put a module's tensors in float16, in place, and cast what it is fed and gives.

    Each operator computes in float16 then, LayerNorm too; a backend whose kernel is wrong there rewrites it.
    """
    import torch
    from torch import Tensor

    def cast_in(_: torch.nn.Module, fed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Floats in half; pictures of bytes are cast by the preprocessing."""
        return tuple(image.half() if image.is_floating_point() else image for image in fed)

    def cast_out(_: torch.nn.Module, _fed: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Floats in float32; decisions are whole numbers and stay so."""
        return tuple(value.float() if value.is_floating_point() else value for value in given)

    module.half()
    module.wrapper.register_forward_pre_hook(cast_in)
    module.wrapper.register_forward_hook(cast_out)
    return module
