"""The first module of a model whose values a precision does not hold, for a floor that was refused.

The trained module runs twice on one image, in float64 and as the precision has it, and every call of a module is
compared with its like, in the order in which calls end:

    layers.0.blocks.0.mlp.act    63 dB
    layers.0.blocks.0.mlp.fc2   -12 dB    here: 20,003 in it
    layers.0.blocks.0            -9 dB    has it from there
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.inference.export_wrapper import ExportWrapper

from .parity import sqnr_db

Images = tuple[Tensor, ...]


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        name: of the module in the trained model.
        inputs, outputs: its tensors, as float64.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class FirstLoss:
    """Where values are lost.

    Attributes:
        module: "" where it is the model itself, between its modules.
        largest: absolute value that the module gives in float64.
        centred_db: signal to noise of what it gives at the precision; NaN where that is not finite, infinite where no
            module's values are lost and so those of the outputs are by what is done with them.
    """

    module: str
    largest: float
    centred_db: float


def first_loss(
    exact: nn.Module, exact_images: Images, rounded: nn.Module, images: Images, least_db: float
) -> FirstLoss:
    """The first module whose values overflow or, where none does, of which the rounding leaves too little.

    Args:
        exact: the served model in float64.
        rounded: the same as the precision computes it; calls its modules in the same order.
        least_db: that a module's values have to keep, as an output has.
    """
    # The rounded calls are kept, the float64 ones compared as they end: one list of values in memory, not two.
    ours: list[Call] = []
    with torch.inference_mode():
        with watched(rounded, ours.append):
            rounded(*images)
        theirs: Iterator[Call] = iter(tuple(ours))
        found: list[FirstLoss] = []

        def compare(call: Call) -> None:
            """Put a call in float64 beside its like."""
            found.append(_loss(call, next(theirs)))

        with watched(exact, compare):
            exact(*exact_images)
    # An overflow comes first though noise may stand earlier: noise is often the model's own, an overflow never is.
    overflowing = [one for one in found if math.isnan(one.centred_db)]
    noisy = [one for one in found if one.centred_db < least_db]
    return next(iter(overflowing or noisy), FirstLoss("", 0.0, math.inf))


def _loss(exact: Call, rounded: Call) -> FirstLoss:
    """What one call loses; what came in overflown did so between modules, which is inside the one around."""
    largest = max((float(value.abs().max()) for value in exact.outputs), default=0.0)
    if _overflown(exact.outputs, rounded.outputs):
        # What came in broken was broken by an operator between modules: the parent's own code is to blame.
        inside = _overflown(exact.inputs, rounded.inputs)
        return FirstLoss(exact.name.rpartition(".")[0] if inside else exact.name, largest, math.nan)
    pairs = zip(exact.outputs, rounded.outputs, strict=True)
    return FirstLoss(exact.name, largest, min((_centred_db(*pair) for pair in pairs), default=math.inf))


def _centred_db(exact: Tensor, rounded: Tensor) -> float:
    """As `OutputParity.centred_db` of values in which nothing is decided; infinite where they are all one value."""
    signal = (exact - exact.mean()).numpy()
    return sqnr_db(signal, (rounded - exact).numpy()) if signal.any() else math.inf


def _overflown(exact: Iterable[Tensor], rounded: Iterable[Tensor]) -> bool:
    """Whether values are not finite that are so in float64; a mask of minus infinities is none."""
    return finite(exact) and not finite(rounded)


def finite(values: Iterable[Tensor]) -> bool:
    """Whether all values of all tensors are numbers."""
    return all(bool(value.isfinite().all()) for value in values)


@contextmanager
def watched(root: nn.Module, see: Callable[[Call], None]) -> Iterator[None]:
    """Hand on every call of every module of the model inside a served one, as it ends; the model itself is ""."""
    # Names are the trained model's, so that they are those of the checkpoint and of keep_fp32.
    (serving,) = (module for module in root.modules() if isinstance(module, ExportWrapper))

    def watch(name: str) -> Any:
        """Hook of one module."""

        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            """Take the tensors; float64 is what the imitation of a smaller type leaves alone."""
            see(Call(name, tuple(_tensors(inputs)), tuple(_tensors(output))))

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in serving.module.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and value.is_floating_point():
        yield value.detach().double().clone()  # a clone: the next module may write in place
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
