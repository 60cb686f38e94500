"""Does a precision hold a model at all? Asked of the noise floor, before anything is made in that precision.

Tolerances are multiples of the floor, so a floor that is as large as the signal, or not finite, would pass anything:
the model is refused there, with the first module from which it goes wrong.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from slide_export.calibration.quantization import NumericFormat
from slide_export.core.errors import ParityError, option
from slide_export.core.precision import FP16, FP32
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel

from .first_loss import FirstLoss, first_loss
from .parity import centred, sqnr_db
from .reference import imitation, told_by, with_floor


def refuse_unheld(served: ServedModel, reference: Reference, numbers: NumericFormat) -> None:
    """Refuse a model that its precision destroys.

    Args:
        reference: with the floor of `numbers`.

    Raises:
        ParityError: names the value, the module, and the precision or the module to keep with which it is held.
    """
    if held(served, reference, numbers):
        return
    loss = _located(served, reference, numbers)
    advice = ", or ".join(_held_with(served, reference, numbers, loss)) or "train it so that its values stay smaller"
    raise ParityError(f"{numbers.precision} cannot hold this model: {_found(loss, numbers)}; {advice}")


def held(served: ServedModel, reference: Reference, numbers: NumericFormat) -> bool:
    """Whether a floor is finite and, in a float precision, as far below every output as the precision has to be.

    What a recipe's grid costs is judged on the artifact alone: the simulation takes its ranges from other images.
    """
    if not all(np.isfinite(values).all() for values in reference.rounded.values()):
        return False
    # The outputs of all images together, as `ParityReport.drowned_outputs` judges them later.
    everything = slice(None)
    return numbers.recipe is not None or _centred_db(served, reference, everything) >= numbers.precision.least_db


def _centred_db(served: ServedModel, reference: Reference, images: slice) -> float:
    """Signal to noise of the floor in the worst output of some images; minus infinity where it is not finite."""
    found = []
    for index, name in enumerate(reference.scores):
        exact = reference.exact[name]
        signal = centred(exact, None if index else served.task.decision_axis)
        noise = reference.rounded[name].astype(np.float64) - exact
        found.append(sqnr_db(signal[images], noise[images]))
    return min(-math.inf if math.isnan(one) else one for one in found)


def _located(served: ServedModel, reference: Reference, numbers: NumericFormat) -> FirstLoss:
    """Where the worst image loses its values."""
    # One image: the float64 run keeps every intermediate value, and the worst shows the loss most clearly.
    count = len(reference.images)
    worst = min(range(count), key=lambda index: _centred_db(served, reference, slice(index, index + 1)))
    start = worst - worst % served.coupled
    feeds = {name: value[start : start + served.coupled] for name, value in reference.feeds.items()}
    exact, rounding = served.in_float64(), imitation(served, reference.feeds, numbers)
    images = served.tensors(feeds, torch.float64)
    with told_by(exact, images, rounding):
        return first_loss(exact, images, rounding, served.tensors(feeds, torch.float32), numbers.precision.least_db)


def _found(loss: FirstLoss, numbers: NumericFormat) -> str:
    """What went wrong where, in words."""
    if math.isinf(loss.centred_db):
        return (
            f"rounding leaves its outputs less than {numbers.precision.least_db:g} dB, behind the last of its modules"
        )
    where = loss.module or "the model, between its modules"
    if not math.isnan(loss.centred_db):
        return (
            f"{_number(loss.largest)} in {where}, of which rounding leaves {round(loss.centred_db)} dB and has to "
            f"leave {numbers.precision.least_db:g}"
        )
    rounded = numbers.precision.floor == "rounded"
    limit = float(torch.finfo(getattr(torch, numbers.precision.computed) if rounded else torch.float32).max)
    if loss.largest > limit:
        return f"{_number(loss.largest)} in {where}, where {_number(limit)} is the largest value"
    return f"a value beyond {_number(limit)}, the largest, inside {where}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 10 <= value < 1e7 else f"{value:.3g}"


def _held_with(served: ServedModel, reference: Reference, numbers: NumericFormat, loss: FirstLoss) -> list[str]:
    """What was tried and does hold the model, in words."""
    advice = []

    def holds(one: NumericFormat) -> bool:
        """Whether this format does."""
        return held(served, with_floor(served, reference, one), one)

    # Advice is tried before it is given.
    if numbers.precision != FP32 and holds(NumericFormat(FP32)):
        advice.append(f"take {FP32}")
    # What a kept module hands on is rounded, so it may be the one around that has to be kept.
    for module in (loss.module, loss.module.rpartition(".")[0]) if numbers.precision == FP16 else ():
        if module and holds(replace(numbers, keep=(*numbers.keep, module))):
            advice.append(f"keep that module in float ({option('keep_fp32')} {module})")
            break
    return advice
