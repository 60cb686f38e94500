"""Preprocessing, model and outputs in one module: what is traced, run as reference and rounded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.core.task import Task
from slide_export.models import DataConfig
from slide_export.tasks import CLASSIFY


class ExportWrapper(nn.Module):
    """Preprocessing, model and outputs in one module: what is traced, run as reference and rounded.

    Args:
        module: takes normalised images [B, 3, H, W].
        data: mean and std of the embedded preprocessing.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, module: nn.Module, data: DataConfig, io: ModelIO, task: Task = CLASSIFY) -> None:
        super().__init__()
        self.module, self.io, self.task = module, io, task
        mean, std = (torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1) for values in (data.mean, data.std))
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of `Task.outputs`, for float [B, 3, H, W] or uint8 [B, H, W, 3] an input."""
        if self.io.embed_preprocessing:
            images = tuple(map(self._preprocess, images))
        return self.task.run(self.module, images, self.io)

    def _preprocess(self, image: Tensor) -> Tensor:
        image = image.to(self.scale.dtype).permute(0, 3, 1, 2)  # [B, 3, H, W]; TensorRT transposes no uint8
        return image * self.scale + self.shift

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module under its name in the model; "" is the wrapper itself, with the preprocessing's buffers."""
        yield "", self
        yield from self.module.named_modules()


def layers_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules by the names that the trained model has for them, inside a wrapper or not."""
    return module.layers() if isinstance(module, ExportWrapper) else iter(module.named_modules())
