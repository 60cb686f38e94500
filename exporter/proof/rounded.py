"""What a precision costs the trained model: the same PyTorch module, rounded as a device of that precision would."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from slide_export.calibration.recipe import matches
from slide_export.core.errors import RequestError
from slide_export.core.precision import Precision
from slide_export.inference.export_wrapper import layers_of
from slide_export.models.sorting import Sorting

LAYER_NORM = (torch.ops.aten.layer_norm.default, torch.ops.aten.native_layer_norm.default)


class _RoundResults(TorchDispatchMode):
    """Round every float32 result to a 16-bit float and back: that type between operators, float32 inside them.

    That is what the fp16 graphs do, and OpenVINO in bfloat16: softmax, LayerNorm and sums keep float32 interiors. A
    module that is kept in float rounds nothing but what it gives to others, and a LayerNorm before it need not either:
    the graph has no casts there.

    Args:
        kind: the 16-bit float.
        some_kept: whether there is such a module.
    """

    def __init__(self, kind: torch.dtype, *, some_kept: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self._some_kept = some_kept
        self._inside = 0  # kept modules that are being computed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._inside or func.is_view:  # a view holds what was rounded when it was made
            return func(*args, **(kwargs or {}))
        if not self._some_kept:
            return self.round(func(*args, **(kwargs or {})))  # whoever made the operands has rounded them
        if func in LAYER_NORM:
            # Weights and result stay in float32: no cast stands behind it.
            return func(self.round(args[0]), *args[1:], **(kwargs or {}))
        return self.round(
            func(*self.round(args), **(kwargs or {}))
        )  # an operand may be the unrounded result of a LayerNorm

    def enter(self, *_: Any) -> None:
        """Enter a kept module."""
        self._inside += 1

    def leave(self, _module: nn.Module, _inputs: Any, result: Any) -> Any:
        """Leave a kept module; what the outermost one hands on is rounded."""
        self._inside -= 1
        return result if self._inside else self.round(result)  # one kept module inside another hands it float32

    def leave_sorted(self, *_: Any) -> None:
        """Leave a layer that sorts; its keys are for a proof, nothing computes with them."""
        self._inside -= 1

    def round(self, value: Any) -> Any:
        """Round a float32 tensor, or those in a tuple or list; anything else is as it was."""
        if isinstance(value, tuple | list):
            return type(value)(map(self.round, value))
        return value.to(self.kind).float() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def at_precision(serving: nn.Module, precision: Precision, keep: Sequence[str] = ()) -> nn.Module:
    """Module that computes as `precision` would.

    fp32 is the module as it is, fp16 and bf16 have rounded weights and results, w16 has rounded weights alone.

    Args:
        serving: the model, or one inside `ExportWrapper`.
        keep: patterns of modules that stay in float, as in a recipe's `keep_fp32`.
    """
    if precision.floor == "none":
        return serving
    if precision.floor == "rounded":
        return _Rounded(serving, getattr(torch, precision.computed), keep)
    if precision.floor == "rounded-weights":
        return _with_rounded_weights(serving, getattr(torch, precision.stored), keep)
    raise RequestError(f"expected a float precision, fp32, w16, fp16 or bf16; found {precision.name!r}")


def _with_rounded_weights(serving: nn.Module, kind: torch.dtype, keep: Sequence[str]) -> nn.Module:
    """Copy a module and round its matrices, kernels and tables; runtimes store vectors, as biases are, in float32."""
    rounded = copy.deepcopy(serving)
    for name, layer in layers_of(rounded):
        if any(matches(name, pattern) for pattern in keep):
            continue
        for stored in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
            if stored.dim() > 1 and stored.dtype == torch.float32:
                stored.data = stored.data.to(kind).float()
    return rounded


class _Rounded(nn.Module):
    def __init__(self, serving: nn.Module, kind: torch.dtype, keep: Sequence[str]) -> None:
        super().__init__()
        self.rounded, self.rounding = copy.deepcopy(serving), _RoundResults(kind, some_kept=bool(keep))
        for name, layer in layers_of(self.rounded):
            if isinstance(layer, Sorting):  # its keys are float32 in every graph, see `calibration.fp16_reasons`
                layer.register_forward_pre_hook(self.rounding.enter)
                layer.register_forward_hook(self.rounding.leave_sorted)
            elif any(matches(name, pattern) for pattern in keep):
                layer.register_forward_pre_hook(self.rounding.enter)
                layer.register_forward_hook(self.rounding.leave)
            elif not (keep and isinstance(layer, nn.LayerNorm)):  # the graph that keeps some has these in float
                for stored in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
                    stored.data = self.rounding.round(stored.data)

    def forward(self, *images: Tensor) -> Any:
        """Run with every result rounded, the outputs too."""
        with self.rounding:
            return self.rounding.round(self.rounded(*images))
