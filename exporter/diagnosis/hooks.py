"""What the modules of a PyTorch model give, as they run, and what they would give for another one's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.inference.export_wrapper import ExportWrapper

Values = Mapping[str, Tensor]


def recorded(root: nn.Module, names: Iterable[str], images: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Record the output of each module in float64, by its name; modules that do not give one tensor are left out.

    Args:
        root: an `ExportWrapper`, or a module that holds one.
        images: what `root` takes.
    """
    return of_one_call(each_call(root, names, images))


def of_one_call(outputs: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """Output of each module that was called once."""
    return {name: calls[0] for name, calls in outputs.items() if len(calls) == 1}


def each_call(root: nn.Module, names: Iterable[str], images: tuple[Tensor, ...]) -> dict[str, list[Tensor]]:
    """Record what `recorded` does, at each call: a detector's head is called on every level."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        """Hook that stores a module's output under its name."""

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            """Store a tensor of numbers that rounding changes; anything else is not comparable."""
            if isinstance(output, Tensor) and output.is_floating_point():
                seen.setdefault(name, []).append(output.detach().double().clone())

        return hook

    with _hooked(root, {name: keep(name) for name in names}), torch.inference_mode():
        root(*images)
    return seen


def anchored(root: nn.Module, values: Values, images: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Output of each module for another model's values: its inputs are theirs, so only its own error shows.

    Every module's output is replaced by the value of its name once it is computed, so nothing downstream inherits what
    differs upstream.
    """
    outputs: dict[str, Tensor] = {}

    def replace(name: str) -> Callable[[Any, Any, Any], Tensor]:
        """Hook that stores a module's output and passes the other model's value on."""

        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            """Store the output; return the value in its dtype."""
            outputs[name] = output.detach().clone()
            return values[name].to(output.dtype)

        return hook

    with _hooked(root, {name: replace(name) for name in values}), torch.inference_mode():
        root(*images)
    return outputs


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
