"""ServedModel, images -> Reference: the trained model's own answers in float64, and what a precision costs it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import Feeds
from slide_export.core.proof import Reference
from slide_export.inference.export_wrapper import ExportWrapper
from slide_export.inference.served import ServedModel, first
from slide_export.models.sorting import following, recorded, sortings

from .fake_quant import simulated
from .rounded import at_precision


def truth(served: ServedModel, source: str, names: Sequence[str], pictures: Sequence[NDArray[np.uint8]]) -> Reference:
    """The trained model in float64 on pictures; what a precision costs it is left for `with_floor`.

    Args:
        source: where the pictures came from.
        names: what each is called.
        pictures: uint8 [N, H, W, 3], one array an input.
    """
    feeds = served.feeds(pictures)
    # Float64 costs seconds and leaves 29 bits below float32: what is found is the artifact's error and not ours.
    exact = served.outputs(feeds, torch.float64, served.in_float64())
    return Reference(source, tuple(names), feeds, exact, {}, served.margins(exact), served.rule)


def with_floor(served: ServedModel, reference: Reference, numbers: NumericFormat) -> Reference:
    """`reference` with the outputs of PyTorch as an artifact of this format computes them: the noise floor's."""
    rounding = imitation(served, reference.feeds, numbers)
    if sortings(served.module):  # its own orders are no part of the floor
        rounding = InTheOrderOf(served.in_float64(), rounding)
    # As one image a batch, as float64 was: batching is no part of the floor.
    return replace(reference, rounded=served.outputs(reference.feeds, torch.float32, rounding))


class InTheOrderOf(nn.Module):
    """A served model that sorts as another one would, whatever its own keys say.

    Args:
        exact: the same model in float64, whose orders are taken.
        rounded: what computes the outputs.
    """

    def __init__(self, exact: nn.Module, rounded: nn.Module) -> None:
        super().__init__()
        self.exact, self.rounded = exact, rounded

    def forward(self, *images: Tensor) -> Any:
        """Outputs of `rounded` under the orders of `exact`."""
        with told_by(self.exact, tuple(map(in_double, images)), self.rounded):
            return self.rounded(*images)


@contextmanager
def told_by(exact: nn.Module, images: tuple[Tensor, ...], other: nn.Module) -> Iterator[None]:
    """Have another served model take the orders of `exact` for these images; of one that sorts nothing, do nothing."""
    inside, theirs = model_inside(exact), model_inside(other)
    if not sortings(inside):
        yield
        return
    with recorded(inside) as found, torch.inference_mode():
        exact(*images)
    with following(theirs, {layer: orders for layer, (orders, _) in found.items()}):
        yield


def in_double(images: Tensor) -> Tensor:
    """Images for a model in float64; uint8 pictures stay as they are."""
    return images.double() if images.is_floating_point() else images


def model_inside(serving: nn.Module) -> nn.Module:
    """The model in an `ExportWrapper`, or in what holds one."""
    (wrapper,) = (module for module in serving.modules() if isinstance(module, ExportWrapper))
    return wrapper.module


def rerun(served: ServedModel, reference: Reference, numbers: NumericFormat) -> Reference:
    """`reference` with all its outputs computed again from the same feeds."""
    exact = served.outputs(reference.feeds, torch.float64, served.in_float64())
    return with_floor(served, replace(reference, exact=exact, margins=served.margins(exact)), numbers)


def imitation(served: ServedModel, feeds: Feeds, numbers: NumericFormat) -> nn.Module:
    """The served model with weights and results rounded as the format has them; float32 as it is."""
    # A recipe's ranges are observed on the proof's own images, one at a time as the floor is computed.
    if numbers.recipe is not None:
        return simulated(served.wrapper(), numbers.recipe, served.smallest_batches(feeds, torch.float32))
    return at_precision(served.wrapper(), numbers.precision, numbers.keep)


def subset(reference: Reference, count: int) -> Reference:
    """The reference of the first `count` images: what a bundle carries as golden inputs and outputs."""
    return Reference(
        reference.source,
        reference.images[:count],
        first(reference.feeds, count),
        first(reference.exact, count),
        first(reference.rounded, count),
        first(reference.margins, count),
        reference.rule,
    )
