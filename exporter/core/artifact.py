"""What goes into an artifact, what comes out of it, and what it stores and computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .graph import TensorSpec

Array: TypeAlias = "NDArray[Any]"
Feeds: TypeAlias = "Mapping[str, Array]"
Outputs: TypeAlias = "Mapping[str, Array]"


@dataclass(frozen=True)
class ModelIO:
    """What goes into an artifact and comes out of it.

    Attributes:
        batch: the fixed batch size, or None for a dynamic one.
        embed_preprocessing: input is uint8 [B, H, W, 3] RGB instead of normalised float32 [B, 3, H, W].
        softmax: outputs are probabilities.
        features: outputs are the four stage maps instead of logits.
        labels: class names, in the order of the head's outputs.
    """

    batch: int | None = None
    embed_preprocessing: bool = False
    softmax: bool = False
    features: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """What a backend wrote.

    Attributes:
        path: the file or directory that a runtime opens.
        settings: what the runtime should be started with, and was proved with.
        graph: the ONNX file beside it that it was built from; proved instead where the artifact cannot run.
    """

    target: str
    precision: str
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    graph: Path | None = None


@dataclass(frozen=True)
class DtypeStats:
    """What an artifact really stores and computes, counted in the artifact itself.

    Attributes:
        stored: bytes of weights by element type.
        computed: convolutions and matrix products by the type that they compute in.
        fixed: whether the artifact itself fixes what it computes in; else this machine's runtime chose.
        marked: convolutions and matrix products that the artifact has 8-bit weights for.
    """

    stored: Mapping[str, int]
    computed: Mapping[str, int]
    fixed: bool = True
    marked: int = 0
