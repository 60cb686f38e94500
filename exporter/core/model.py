"""A model on its way: trained, fused, in the form a target runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from slide_export.models import Config, DataConfig


ASSUMED = "assumed"
"""Source of a value that nobody told."""


@dataclass(frozen=True)
class ValueInForce:
    """One of a family's values as it was taken for a model; see `models.model_value`.

    Attributes:
        value: as `--model NAME=VALUE` would have it.
        source: what told it: the option, the variant, the checkpoint's config or shapes; `ASSUMED` where nothing did.
        expected: how it is written.
        help: what it is.
        default: what is taken where nobody says, and why.
        option: the one that says another; "" is `--model NAME=VALUE`.
    """

    name: str
    value: str
    source: str
    expected: str
    help: str
    default: str
    option: str = ""

    @property
    def assumption(self) -> str:
        """A sentence for people, where the value was assumed."""
        return (
            f"assumed {self.name}={self.value}, no file tells it: {self.default} (--model {self.name}=... says another)"
        )


@dataclass(frozen=True)
class Provenance:
    """Where a model's weights came from.

    Attributes:
        path: the checkpoint file or folder.
        sha256: of that file; of several, of the list of their hashes and names.
        weights: "raw" or "ema".
        notes: what the loader decided, one sentence each.
        format: the library that named the tensors, for people.
        container: what the file or folder is.
        wrapper: the key that the weights stood under, "" where they were the top level.
        prefix: what was removed from every name.
        dropped: what the file holds that is no part of the model.
        assumed: what no file told; these sentences stand in `notes` too.
        values: what files may not tell, as it was taken.
        preprocessing: mean, std, resize, crop and interpolation, as they were taken.
    """

    path: Path
    sha256: str
    weights: str
    notes: tuple[str, ...] = ()
    format: str = "official names"
    container: str = ""
    wrapper: str = ""
    prefix: str = ""
    dropped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    values: tuple[ValueInForce, ...] = ()
    preprocessing: tuple[ValueInForce, ...] = ()


@dataclass(frozen=True)
class Model:
    """A train-time module with its trained weights, in eval mode.

    Attributes:
        variant: name of the size, or "FAMILY (custom)".
        task: name of what the family's models are for; see `core.task`.
        labels: class names that stand beside the weights; none where there are none.
        float32: patterns of modules that float16 does not hold; see `Family.float32`.
    """

    module: nn.Module
    family: str
    variant: str
    config: Config
    data: DataConfig
    provenance: Provenance
    task: str = "classify"
    labels: tuple[str, ...] = ()
    float32: tuple[str, ...] = ()

    @property
    def image_size(self) -> tuple[int, int]:
        """Rows and columns of the input."""
        return self.config.image_size


@dataclass(frozen=True)
class FusedModel:
    """The inference form of `trained`: every pair of shift convolutions is one."""

    module: nn.Module
    trained: Model


@dataclass(frozen=True)
class BlockCertificate:
    """Proof that one block's fused convolution is its two paths, and how far the shift path has drifted.

    Attributes:
        block: PyTorch module name.
        difference: largest |fused - two paths| of the convolution's output, computed in float64 on real features.
        bound: what rounding the summed weights to float32 can cost at most, on the same features.
        within: whether the difference is within the bound at every position.
        drift: largest |dep_conv.weight - shift kernel|; 0 where training left the shift path alone.
    """

    block: str
    difference: float
    bound: float
    within: bool
    drift: float


@dataclass(frozen=True)
class InferenceModel:
    """The fused model in the operators that a target runs."""

    module: nn.Module
    fused: FusedModel
    form: str


@dataclass(frozen=True)
class Inspection:
    """What `inspect` tells about a checkpoint.

    Attributes:
        parameters: of the train-time form, frozen ones included.
        macs: multiply-adds of convolutions and matrix products at batch 1, both convolution paths counted.
        fused_macs: the same after fusion.
        drift: how far each slide block's shift path has moved from the pure shift, by module name.
        format, container, wrapper, prefix, dropped, assumed: see `Provenance`.
        labels: class names that stand beside the weights.
        options: what a user may say of the model with --model.
        values: what `--model` may say of it, with what is in force.
    """

    family: str
    variant: str
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    sha256: str
    parameters: int
    macs: int
    fused_macs: int
    drift: Mapping[str, float]
    notes: tuple[str, ...]
    format: str = "official names"
    container: str = ""
    wrapper: str = ""
    prefix: str = ""
    dropped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    values: tuple[ValueInForce, ...] = ()
