"""A model as it is served: its interface around it, the same for the trained reference and for what is exported."""

import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.models import DataConfig


class ExportWrapper(nn.Module):
    """Preprocessing, model and output as an `Interface` asks for them.

    Args:
        module: takes normalised images [B, 3, H, W]; returns logits, and `features()` the stage maps.
        data: mean and std for the embedded preprocessing.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, module: nn.Module, data: DataConfig, interface: ModelIO) -> None:
        super().__init__()
        self.module, self.interface = module, interface
        mean, std = (torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1) for values in (data.mean, data.std))
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns the outputs that `Interface.output_names` names, for float [B, 3, H, W] or uint8 [B, H, W, 3]."""
        if self.interface.embed_preprocessing:
            images = images.to(self.scale.dtype).permute(0, 3, 1, 2)  # [B, 3, H, W]; TensorRT transposes no uint8
            images = images * self.scale + self.shift
        if self.interface.features:
            maps: tuple[Tensor, ...] = self.module.features(images)  # type: ignore[operator]  # a method
            return maps
        logits = self.module(images)
        return (logits.softmax(dim=-1) if self.interface.softmax else logits,)
