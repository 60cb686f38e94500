"""How large a model a file can be of: bounds from the file's own tensors, before anything of that size is made.

DEPTHS [1000000000, 1, 1, 1] beside 120 tensors  ->  refused: a block has a tensor at least
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign
from slide_export.models import Config, Family, ShapeError, State

PIXELS = 1 << 26  # of an input, 8192x8192: float32 pictures of 0.8 GB
SPARE_TENSORS = 64  # that a module may have beyond those of its file: what a library leaves out
SPARE_NUMBERS = 1 << 24
SIZES = ("image_size", "bias_size", "candidates", "detections")  # fields that no tensor bounds, nor makes any larger


@contextmanager
def bounded(like: State | None) -> Iterator[None]:
    """Build modules whose parameters have no memory and no random numbers, as many as a file can fill.

    Args:
        like: the file's tensors, without values; None bounds nothing.

    Raises:
        ShapeError: they are more, or larger, than those of the file.
    """
    tensors = math.inf if like is None else 2 * len(like) + SPARE_TENSORS
    numbers = math.inf if like is None else 4 * sum(value.numel() for value in like.values()) + SPARE_NUMBERS
    made = [0, 0]

    def empty(_module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter:
        """Keep the shape of a new parameter alone, and count it."""
        made[0] += 1
        made[1] += parameter.numel()
        if made[0] > tensors or made[1] > numbers:
            raise ShapeError(f"more or larger tensors than the file has, from a {name} of {list(parameter.shape)} on")
        return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)

    hook = register_module_parameter_registration_hook(empty)  # type: ignore[arg-type]  # it may return a parameter
    try:
        yield
    finally:
        hook.remove()


def refuse_beyond(config: Config, like: State, family: Family, variant: str | None = None) -> None:
    """Refuse a configuration with numbers that no tensor of the file has: they would cost minutes or gigabytes.

    Args:
        config: of the model that is to be built.
        like: the file's tensors, without values.
        family: of the model.
        variant: whose numbers it may have too.

    Raises:
        CheckpointError: it has one.
    """
    largest = max((max(value.shape, default=1) for value in like.values()), default=1)
    named = _whole(tuple(asdict(family.variants[variant]).values())) if variant else []
    bound = max(largest, len(like), *named)
    _refuse_size(config.image_size)
    for name, value in asdict(config).items():  # type: ignore[call-overload]  # every family's is a dataclass
        if name not in SIZES and (beyond := [number for number in _whole(value) if not 0 <= number <= bound]):
            raise CheckpointError(
                f"expected a {family.name} whose {name} the file's {len(like)} tensors can have, found "
                f"{foreign(beyond[0])}, where their largest side is {largest}"
            )


def _refuse_size(size: tuple[int, int]) -> None:
    """Refuse an input that no picture has.

    Raises:
        CheckpointError: its rows or columns are none or too many.
    """
    if min(size) < 1 or size[0] * size[1] > PIXELS:
        raise CheckpointError(
            f"expected an input of 1x1 to {PIXELS} pixels, found {foreign(size[0])}x{foreign(size[1])}: name another"
        )


def _whole(value: Any) -> list[int]:
    """Whole numbers in a field's value."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, list | tuple):
        return [number for item in value for number in _whole(item)]
    return []


def refuse_expanded(like: State, sizes: Sequence[int], where: str) -> None:
    """Refuse tensors that are far larger together than the files that they are in: views of a few numbers.

    Args:
        like: tensors without values.
        sizes: of the files, in bytes.
        where: the file, for people.

    Raises:
        CheckpointError: they are.
    """
    held = sum(map(_bytes, like.values()))
    if held > 4 * (sum(sizes) + SPARE_NUMBERS):
        raise CheckpointError(
            f"expected tensors of the size of their file, {where} has {held} bytes of them in {sum(sizes)}: they are "
            "views of a few numbers, which no trained model has"
        )


def _bytes(like: Tensor) -> int:
    return like.numel() * like.element_size()
