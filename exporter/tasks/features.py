"""One image to the maps of a backbone's stages, [B, C, H, W] at strides 4, 8, 16 and 32, or as many as it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import RequestError
from slide_export.core.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs

STAGES = ("stage1", "stage2", "stage3", "stage4")


def outputs(io: ModelIO) -> tuple[str, ...]:
    """One name a stage."""
    return io.stages or STAGES


def stages_of(config: Any) -> tuple[str, ...]:
    """Names of the maps that a model hands on; empty where they are those of four stages.

    Args:
        config: of the model, whose `depths` and `feature_stages` tell them where it has any.
    """
    numbers = getattr(config, "feature_stages", ()) or range(len(getattr(config, "depths", STAGES)))
    names = tuple(f"stage{number + 1}" for number in numbers)
    return () if names == STAGES or not hasattr(config, "feature_stages") else names


def run(module: nn.Module, images: tuple[Tensor, ...], _io: ModelIO) -> tuple[Tensor, ...]:
    """The maps of images [B, 3, H, W]."""
    maps: tuple[Tensor, ...] = module.features(*images)  # type: ignore[operator]  # a method
    return maps


def check(io: ModelIO, _config: Any) -> None:
    """Refuse what only scores of classes can have.

    Raises:
        RequestError: softmax or labels of stage maps.
    """
    if io.softmax or io.labels:
        raise RequestError("expected features without softmax and labels: stage maps have no classes")


def draw(found: Outputs, _labels: Sequence[str]) -> tuple[str, ...]:
    """Shape and range of each map."""
    lines = ((name, value.shape[1:], float(value.min()), float(value.max())) for name, value in found.items())
    return tuple(
        f"{name}  {'x'.join(map(str, shape)):>12}  {low:.3g} to {high:.3g}" for name, shape, low, high in lines
    )


FEATURES = Task("features", outputs, run, draw, check=check)
