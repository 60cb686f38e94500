"""What a head offers beside a backbone: its fields of the configuration, how it is recognised, how it is built.

Given:  {"backbone.layers.0...": ..., "decode_head.psp_modules.0.1.conv.weight": ...}
Result: `UPERNET.matches(names)`; `UPERNET.infer(state, widths)` gives channels, scales and classes
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from slide_export.models.batch_norm import NormedConvolution
from slide_export.models.family import ShapeError, State
from slide_export.models.model_value import ModelValue

Size = tuple[int, int]


@dataclass(frozen=True)
class Maps:
    """The maps that a backbone hands to a head, one a stage.

    Attributes:
        widths: channels of each.
        sizes: rows and columns of each, at the input size of the configuration.
    """

    widths: tuple[int, ...]
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Head:
    """One kind of head, with its neck where it has one.

    Attributes:
        name: as families have it, and its file.
        task: what a model with it is for.
        fields: dataclass of its fields of the configuration, all with defaults; mixed into the backbone's.
        upstream: name of its class in OpenMMLab's configurations.
        prefixes: what the names of its tensors begin with.
        matches: whether names, without the backbone's, are those of this head.
        infer: (tensors, widths of the backbone's maps) -> fields that shapes tell, `num_classes` among them; takes the
            fields of `values` that are `needed` as keywords, None where nobody tells them; raises `ShapeError`.
        build: (configuration, maps) -> its modules by the names that they have in the model.
        run: (those modules, maps of all stages) -> outputs.
        values: what a user may say of it, since no file may tell.
        input_size: rows and columns where nobody tells them.
    """

    name: str
    task: str
    fields: type[Any]
    upstream: str
    prefixes: tuple[str, ...]
    matches: Callable[[Collection[str]], bool]
    infer: Callable[..., Mapping[str, Any]]
    build: Callable[[Any, Maps], Mapping[str, nn.Module]]
    run: Callable[[nn.Module, tuple[Tensor, ...]], Any]
    values: tuple[ModelValue, ...] = ()
    input_size: Size = (512, 512)


class ConvModule(nn.Module):
    """Convolution without bias, norm, ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the kernel; the map keeps its size.
        groups: of a GroupNorm; 0 is a BatchNorm, into whose convolution it is folded.

    Source: open-mmlab/mmcv 2.1.0, mmcv/cnn/bricks/conv_module.py, ConvModule: order conv, norm, act.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 0) -> None:
        super().__init__()
        self.grouped = bool(groups)
        if groups:
            self.conv: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            self.gn = nn.GroupNorm(groups, outputs)
        else:
            self.bn = nn.BatchNorm2d(outputs)
            self.conv = NormedConvolution(inputs, outputs, kernel, self.bn)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, norm, rectify: [B, inputs, H, W] -> [B, outputs, H, W]."""
        x = self.conv(x)
        return functional.relu(self.gn(x) if self.grouped else x)


def groups_of(state: State, prefix: str, told: int | None) -> int:
    """Groups of a head's norms, 0 where they are BatchNorms.

    Args:
        state: tensors with or without values.
        prefix: of the head's names.
        told: by a file or the user; None where nobody does.

    Raises:
        ShapeError: nobody tells those of a GroupNorm, they do not divide its channels, or the norm is a BatchNorm.
    """
    norms = [key for key in state if key.startswith(prefix) and key.endswith(".gn.weight")]
    widths = sorted({state[key].shape[0] for key in norms})
    if not widths:
        if told:
            raise ShapeError(f"a head with BatchNorm, which has no groups; {told} are told")
        return 0
    if not told or told < 1:
        raise ShapeError("a head with GroupNorm, whose number of groups (norm_groups) no shape tells")
    if any(width % told for width in widths):
        raise ShapeError(f"{told} groups of a norm, which do not divide its {widths} channels")
    return told


def resized(x: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    """Resize bilinearly: [B, C, H, W] -> [B, C, *size]; x itself where it has that size."""
    if tuple(x.shape[2:]) == size:
        return x
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def size_of(x: Tensor) -> Size:
    """Rows and columns of a map [B, C, H, W]."""
    return x.shape[2], x.shape[3]


def convolutions(state: State, prefix: str) -> int:
    """Count the numbered ConvModules under a prefix: `prefix.0.conv.weight`, `prefix.1.conv.weight`, ..."""
    count = 0
    while f"{prefix}.{count}.conv.weight" in state:
        count += 1
    return count
