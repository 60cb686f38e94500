"""Is a trained model something that can be proved at all? Asked of its own answers, before anything is made of them."""

import numpy as np
import torch
from torch import Tensor

from slide_export.core.artifact import Array, Feeds
from slide_export.core.errors import CheckpointError
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel

from .first_loss import Call, finite, watched
from .parity import centred

SAME = 16 * float(np.finfo(np.float64).eps)
"""Of the largest value: two float64 results that differ by less are one, added in another order."""
MODEL = "the model"
"""Where no module of it can be named."""


def refuse_unsound(served: ServedModel, truth: Reference) -> None:
    """Refuse a model whose answers are no numbers, or the same whatever it is shown.

    Args:
        truth: its outputs in float64.

    Raises:
        CheckpointError: names the first module from which it is so.
    """
    for name, value in served.module.named_parameters():
        if not (value.sum().isfinite() or value.isfinite().all()):  # a finite sum tells without a copy
            raise CheckpointError(
                f"expected finite weights, found {name} not so in {str(value.dtype).removeprefix('torch.')}: "
                "export a checkpoint whose weights that type holds"
            )
    if not all(np.isfinite(values).all() for values in truth.exact.values()):
        raise CheckpointError(
            f"expected finite outputs, found others from {_first_not_finite(served, truth)} on, in float64 too: "
            "export a checkpoint of before the training lost it"
        )
    # One image, or copies of one, cannot tell whether the answer depends on it.
    if len(truth.images) > 1 and all(map(_same_for_all, truth.exact.values())) and _varied(truth.feeds):
        raise CheckpointError(
            f"expected outputs that depend on the image, found the same for all {len(truth.images)} from "
            f"{_first_constant(served, truth)} on: nothing could be told of an artifact by them"
        )
    # A head that was never trained: every argmax is a tie, so no flip could ever be confident.
    scores, axis = truth.exact[truth.scores[0]], served.task.decision_axis
    if axis is not None and scores.shape[axis] > 1 and np.abs(centred(scores, axis)).max() <= SAME * _largest(scores):
        raise CheckpointError(
            f"expected scores that tell {scores.shape[axis]} classes apart, found the same for all of them: "
            "export a checkpoint whose head was trained"
        )


def _same_for_all(outputs: Array) -> bool:
    """Whether an output is one and the same for every image."""
    return bool(np.ptp(outputs, axis=0).max() <= SAME * _largest(outputs))


def _largest(values: Array) -> float:
    return float(np.abs(values).max())


def _varied(feeds: Feeds) -> bool:
    """Whether the images themselves are not all the same."""
    return any((value != value[:1]).any() for value in feeds.values())


def _calls(served: ServedModel, truth: Reference, image: int) -> tuple[Call, ...]:
    """Every call of a module for one image, in float64, as they end; with those that it belongs to in a batch."""
    module, calls = served.in_float64(), list[Call]()
    start = image - image % served.coupled
    feeds = {name: value[start : start + served.coupled] for name, value in truth.feeds.items()}
    with watched(module, calls.append), torch.inference_mode():
        module(*served.tensors(feeds, torch.float64))
    return tuple(calls)


def _first_not_finite(served: ServedModel, truth: Reference) -> str:
    wrong = [not all(np.isfinite(values[i]).all() for values in truth.exact.values()) for i in range(len(truth.images))]
    for call in _calls(served, truth, wrong.index(True)):  # as they end: a child before its parent
        if not finite(call.outputs):
            return (call.name if finite(call.inputs) else call.name.rpartition(".")[0]) or MODEL
    return MODEL


def _first_constant(served: ServedModel, truth: Reference) -> str:
    """The first module that is fed what differs from image to image, and gives what does not."""
    other = next(i for i in range(len(truth.images)) if any((v[i] != v[0]).any() for v in truth.feeds.values()))
    for one, two in zip(_calls(served, truth, 0), _calls(served, truth, other), strict=True):
        if not _equal(one.inputs, two.inputs) and _equal(one.outputs, two.outputs):
            return one.name or MODEL
    return MODEL


def _equal(ones: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    return all(float((a - b).abs().max()) <= SAME * float(a.abs().max()) for a, b in zip(ones, others, strict=True))
