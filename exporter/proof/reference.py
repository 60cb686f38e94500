"""ServedModel, images -> Reference: the trained model's own answers in float64, and what a precision costs it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import Feeds
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel, first

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
    exact = served.outputs(feeds, torch.float64, served.in_float64())
    return Reference(source, tuple(names), feeds, exact, {}, served.margins(exact))


def with_floor(served: ServedModel, reference: Reference, numbers: NumericFormat) -> Reference:
    """`reference` with the outputs of PyTorch as an artifact of this format computes them: the noise floor's."""
    # As one image a batch, as float64 was: batching is no part of the floor.
    rounded = served.outputs(reference.feeds, torch.float32, imitation(served, reference.feeds, numbers))
    return replace(reference, rounded=rounded)


def rerun(served: ServedModel, reference: Reference, numbers: NumericFormat) -> Reference:
    """`reference` with all its outputs computed again from the same feeds."""
    exact = served.outputs(reference.feeds, torch.float64, served.in_float64())
    return with_floor(served, replace(reference, exact=exact, margins=served.margins(exact)), numbers)


def imitation(served: ServedModel, feeds: Feeds, numbers: NumericFormat) -> nn.Module:
    """The served model with weights and results rounded as the format has them; float32 as it is."""
    # A recipe's ranges are observed on the proof's own images, one at a time as the floor is computed.
    if numbers.recipe is not None:
        return simulated(served.wrapper(), numbers.recipe, served.one_by_one(feeds, torch.float32))
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
    )
