"""What the modules of a PyTorch model give, as they run, and what they would give for another one's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.inference.export_wrapper import ExportWrapper

Values = Mapping[str, Sequence[Tensor]]
"""Outputs of modules by name, one a call: a detector's head is called on every level."""


def recorded(root: nn.Module, names: Iterable[str], images: tuple[Tensor, ...]) -> dict[str, list[Tensor]]:
    """Record the outputs of each module in float64, one a call, by its name; what is not one tensor is left out.

    Args:
        root: an `ExportWrapper`, or a module that holds one.
        images: what `root` takes.
    """
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        """Hook that stores a module's output under its name."""

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            """Store what is comparable."""
            if _is_comparable(output):
                seen.setdefault(name, []).append(output.detach().double().clone())

        return hook

    with _hooked(root, {name: keep(name) for name in names}), torch.inference_mode():
        root(*images)
    return seen


def anchored(root: nn.Module, values: Values, images: tuple[Tensor, ...]) -> dict[str, list[Tensor]]:
    """Outputs of each module for another model's values: its inputs are theirs, so only its own error shows.

    Every module's output is replaced by the value of its name and call once it is computed, so nothing downstream
    inherits what differs upstream.
    """
    outputs: dict[str, list[Tensor]] = {name: [] for name in values}

    def replace(name: str) -> Callable[[Any, Any, Any], Any]:
        """Hook that stores a module's output and passes the other model's value on."""

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            """Store the output; return the value in its dtype."""
            if not _is_comparable(output):
                return output
            call = len(outputs[name])
            outputs[name].append(output.detach().clone())
            return values[name][call].to(output.dtype)

        return hook

    with _hooked(root, {name: replace(name) for name in values}), torch.inference_mode():
        root(*images)
    return outputs


def _is_comparable(output: Any) -> bool:
    """Whether an output is a tensor of numbers that rounding changes."""
    return isinstance(output, Tensor) and output.is_floating_point()


@contextmanager
def _hooked(root: nn.Module, hooks: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    (serving,) = (module for module in root.modules() if isinstance(module, ExportWrapper))
    inside = dict(serving.module.named_modules())
    handles = [inside[name].register_forward_hook(hook) for name, hook in hooks.items() if name in inside]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
