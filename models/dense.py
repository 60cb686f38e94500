"""Segmenters and detectors: a family for each backbone with each head, its configuration both of theirs.

Given:  swin.FAMILY (SwinConfig) and UPERNET (UperNetFields)
Result: family `swin_upernet` (all fields of both), whose modules are `backbone` and `decode_head`

Keys are `backbone.` before the backbone's own, without its classifier, and the head's beside them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from . import config_tree, cswin, nat, pvt, pvt_v2, slide_cswin, slide_nat, slide_pvt, slide_pvt_v2, slide_swin, swin
from .data import DataConfig
from .family import Family, State
from .heads import HEADS, Head, Maps
from .heads.head import resized
from .model_value import ModelValue, one_of
from .resnet import COUNTERS, without_counts

BACKBONE = "backbone."
SCALED = "window"  # a value of a classifier that no backbone has: its windows stay as they are at every input
CLASSES = 150  # of a variant: ADE20K's
SMALL_MAPS = ModelValue(
    "small_maps",
    one_of({"shift": "pad-and-shift", "whole": "shrink"}),
    "what a map no larger than a window does: shift like any other, or be one window whole",
    "shift, as Swin's segmenters and detectors do",
)
AS_BACKBONE = {
    "resized_window": "keep",
    "small_maps": "pad-and-shift",
    "class_token": False,
    "padded_stripes": True,
}
"""Fields of a backbone's configuration, where it has them; see `as_backbone`."""
WHOLE_SCENE = DataConfig(interpolation="bilinear", keep_aspect=False, scale=1.0, fits=True)
"""A picture is fitted into the input as a whole, as every published pipeline keeps its ratio: cropping would lose what
is to be found."""

BACKBONES: tuple[Family, ...] = (
    slide_swin.FAMILY,
    swin.FAMILY,
    slide_cswin.FAMILY,
    cswin.FAMILY,
    slide_nat.FAMILY,
    nat.FAMILY,
    slide_pvt.FAMILY,
    pvt.FAMILY,
    slide_pvt_v2.FAMILY,
    pvt_v2.FAMILY,
)


class DenseModel(nn.Module):
    """A backbone and the modules of a head.

    Args:
        backbone: gives `features`.
        head: see `Head`.
        parts: the head's modules by name.
        config: of both.
    """

    def __init__(self, backbone: nn.Module, head: Head, parts: Mapping[str, nn.Module], config: Any) -> None:
        super().__init__()
        backbone.__class__ = giving_maps(type(backbone))  # type: ignore[arg-type]  # a class is hashable
        self.backbone, self.run, self.config = backbone, head.run, config
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Any:
        """The head's outputs for normalised images [B, 3, H, W]."""
        return self.run(self, self.features(images))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map of each stage, [B, C, H, W] at strides 4, 8, 16, 32, as the head takes them."""
        maps: tuple[Tensor, ...] = self.backbone(images)
        return maps

    def enlarged(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [B, K, h, w] of a segmenter resized to the input, [B, K, *size]."""
        return resized(logits, size, align_corners=self.config.align_corners)

    def decided(self, scores: Tensor) -> Tensor:
        """The class of each pixel, uint8 [B, H, W], of logits [B, K, H, W]; of a single one, whether it is there.

        Source: open-mmlab/mmsegmentation 1.2.2, models/segmentors/base.py, postprocess_result.
        """
        if scores.shape[1] == 1:
            return (scores > self._limit).flatten(1, 2).to(torch.uint8)
        return scores.argmax(dim=1).to(torch.uint8)

    def margins(self, scores: Tensor) -> Tensor:
        """By how much each pixel's class is preferred to the next, [B, H, W]."""
        if scores.shape[1] == 1:
            return (scores - self._limit).abs().flatten(1, 2)
        best, second = scores.topk(2, dim=1).values.unbind(dim=1)
        return best - second

    def scores(self, logits: tuple[Tensor, ...]) -> Tensor:
        """Scores [B, N, K] in 0..1 of a detector's logits [B, n, K], level by level."""
        return torch.cat(logits, dim=1).sigmoid()

    def boxes(self, deltas: tuple[Tensor, ...]) -> Tensor:
        """Boxes [B, N, 4] in pixels of the input of a detector's deltas [B, n, 4], level by level."""
        boxes: Tensor = self.get_submodule("bbox_head").boxes(deltas)  # type: ignore[operator]  # a method
        return boxes

    def detections(self, scores: Tensor, boxes: Tensor) -> Tensor:
        """Detections [B, D, 6] of a detector's scores [B, N, K] and boxes [B, N, 4]; see `heads.suppress`."""
        rows: Tensor = self.get_submodule("bbox_head").suppress(scores, boxes)  # type: ignore[operator]  # a module
        return rows

    @property
    def _limit(self) -> float:
        """Logit from which a pixel is of the only class."""
        return math.log(self.config.threshold / (1 - self.config.threshold))


@cache
def giving_maps(kind: type[nn.Module]) -> type[nn.Module]:
    """A backbone's class whose call gives its maps: what is called is a scope of a trace, with its name in graphs."""
    maps: Any = kind
    return type(f"{kind.__name__}Maps", (kind,), {"forward": maps.features, "__module__": kind.__module__})


def family_name(backbone: str, head: str) -> str:
    """Name of a backbone's family with a head."""
    return f"{backbone}_{head}"


@cache
def config_kind(backbone: type[Any], head: Head) -> type[Any]:
    """The configuration of both: a backbone's with the head's fields behind its own."""
    name = f"{backbone.__name__.removesuffix('Config')}{head.fields.__name__.removesuffix('Fields')}Config"
    return dataclass(frozen=True)(type(name, (head.fields, backbone), {"__module__": __name__}))


def maps_of(config: Any) -> Maps:
    """Widths and sizes of the maps of a backbone's configuration."""
    stages = range(len(config.depths))
    widths = getattr(config, "embed_dims", None) or tuple(config.embed_dim << stage for stage in stages)
    return Maps(widths, tuple(config.resolution(stage) for stage in stages))


def inside(state: State) -> dict[str, Tensor]:
    """The backbone's tensors by its own names."""
    return {key.removeprefix(BACKBONE): value for key, value in state.items() if key.startswith(BACKBONE)}


def outside(state: State) -> dict[str, Tensor]:
    """The head's tensors."""
    return {key: value for key, value in state.items() if not key.startswith(BACKBONE)}


def dense_family(backbone: Family, head: Head) -> Family:
    """Make the family of a backbone with a head."""
    bare = type(next(iter(backbone.variants.values())))
    kind = config_kind(bare, head)  # type: ignore[arg-type]  # a class is hashable
    values = tuple(_of_backbone(value) for value in _values(backbone))
    needed = {value.field_name for value in head.values if value.needed}

    def infer(state: State, **told: Any) -> Any:
        """The configuration that shapes tell of both."""
        own = {name: told.pop(name) for name in needed & told.keys()}
        own_names = inside(state)
        trained = backbone.infer(own_names, **told)
        trained = as_backbone(trained, norms_of(own_names, len(trained.depths)))
        found = head.infer(outside(state), maps_of(trained).widths, **own)
        return kind(**{**vars(trained), **found})

    def build(config: Any) -> nn.Module:
        """The train-time module."""
        parts = head.build(config, maps_of(config))
        return DenseModel(backbone.build(_bare(config, bare)), head, parts, config)

    return Family(
        name=family_name(backbone.name, head.name),
        variants={family_name(name, head.name): _variant(kind, one) for name, one in backbone.variants.items()},
        matches=lambda state: backbone.matches(inside(state)) and head.matches(outside(state)),
        infer=infer,
        resize=backbone.resize,
        read_config=lambda tree: config_tree.read_config(tree, family_name(backbone.name, head.name), kind),
        read_data=lambda _tree, _config: WHOLE_SCENE,
        build=build,
        adapt=lambda state, old, new: {**outside(state), **_prefixed(backbone.adapt(inside(state), old, new))},
        canonical=lambda state: {**without_counts(outside(state)), **_prefixed(backbone.canonical(inside(state)))},
        assumed=_assumed(backbone),
        values=(*values, *head.values),
        optional=(*backbone.optional, *COUNTERS),
        task=head.task,
        backbone=backbone.name,
    )


def _prefixed(state: State) -> dict[str, Tensor]:
    return {BACKBONE + key: value for key, value in state.items()}


def _bare(config: Any, kind: type[Any]) -> Any:
    """The backbone's part of a configuration, without a classifier."""
    own = {field.name: getattr(config, field.name) for field in fields(kind)}
    return kind(**{**own, "num_classes": 0})


def _variant(kind: type[Any], size: Any) -> Any:
    config = kind(**{**vars(size), "num_classes": CLASSES})
    norms = tuple(range(len(config.depths))) if hasattr(config, "feature_norms") else ()
    released = {"window": (7, 7)} if getattr(config, "window", None) == (56, 56) else {}  # of Slide-Swin's classifier
    return as_backbone(replace(config, **released), norms)


def as_backbone(config: Any, norms: tuple[int, ...]) -> Any:
    """A classifier's configuration with what its authors' segmenters and detectors do otherwise.

    Windows and stripes stay as large at every input, zeros complete a map that they do not divide, every second block
    shifts, and no class token is read.

    Args:
        config: with a head's fields or without.
        norms: the stages whose maps have a norm of their own.

    Source: SwinTransformer/Swin-Transformer-Object-Detection c7b2011, mmdet/models/backbones/swin_transformer.py;
    microsoft/CSWin-Transformer f111ae2, segmentation/backbone/cswin_transformer.py; whai362/PVT 57e2dfa,
    detection/pvt.py; SHI-Labs/Neighborhood-Attention-Transformer d334f5b, detection/nat.py.
    """
    own = {field.name for field in fields(config)}
    told = {**AS_BACKBONE, "feature_norms": norms}
    return replace(config, **{name: value for name, value in told.items() if name in own})


def norms_of(state: State, stages: int) -> tuple[int, ...]:
    """The stages (0-based) whose maps have a norm of their own, by a backbone's own names here."""
    earlier = (stage for stage in range(stages - 1) if f"norm{stage}.weight" in state)
    return (*earlier, *((stages - 1,) if "norm.weight" in state else ()))


def _values(backbone: Family) -> tuple[ModelValue, ...]:
    """What a backbone leaves open: without its input where only a classifier's windows follow from that."""
    kept = (one for one in backbone.values if one.name != SCALED and (one.name != "image_size" or one.needed))
    windows = any(value.name == SCALED for value in backbone.values)
    return (*kept, *((SMALL_MAPS,) if windows else ()))


def _of_backbone(value: ModelValue) -> ModelValue:
    """A value of the backbone's, told and checked by its part of the tensors."""
    return replace(
        value,
        told=lambda state: value.told(inside(state)),
        check=lambda state, said: value.check(inside(state), said),
    )


def _assumed(backbone: Family) -> Callable[[State], str]:
    guess = backbone.assumed
    return (lambda state: guess(inside(state))) if callable(guess) else (lambda _state: guess)


DENSE: tuple[Family, ...] = tuple(dense_family(backbone, head) for head in HEADS for backbone in BACKBONES)
"""Every backbone with every head, head by head."""

__all__ = ["BACKBONES", "DENSE", "DenseModel", "dense_family", "family_name", "inside", "outside"]
