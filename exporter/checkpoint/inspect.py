"""What a loaded model is made of: sizes, cost, drift."""

import copy
from dataclasses import asdict

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Inspection, Model
from slide_export.inference.fuse import fuse
from slide_export.models import coupled
from slide_export.models.slide_attention import SlideAttention
from slide_export.tasks import task_of


def inspect_model(model: Model) -> Inspection:
    """Describe a trained model without computing with it."""
    inputs = len(task_of(model.task, ModelIO()).inputs)
    return Inspection(
        family=model.family,
        variant=model.variant,
        config=asdict(model.config),  # type: ignore[call-overload]  # every family's is a dataclass
        preprocessing=asdict(model.data),
        sha256=model.provenance.sha256,
        parameters=sum(value.numel() for value in model.module.parameters()),
        macs=count_macs(model.module, model.image_size, inputs),
        fused_macs=count_macs(fuse(model).module, model.image_size, inputs),
        drift={
            name: layer.drift() for name, layer in model.module.named_modules() if isinstance(layer, SlideAttention)
        },
        notes=model.provenance.notes,
        format=model.provenance.format,
        container=model.provenance.container,
        wrapper=model.provenance.wrapper,
        prefix=model.provenance.prefix,
        dropped=model.provenance.dropped,
        assumed=model.provenance.assumed,
        labels=model.labels,
        options=tuple(value.name for value in model.provenance.values),
        values=model.provenance.values,
    )


def count_macs(module: nn.Module, image_size: tuple[int, int], inputs: int = 1) -> int:
    """Multiply-adds of convolutions and matrix products for one image; nothing is computed."""
    batch = coupled(module)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        images = (torch.empty(batch, 3, *image_size, device="meta") for _ in range(inputs))
        copy.deepcopy(module).to("meta")(*images)
    return int(counter.get_total_flops()) // 2 // batch
