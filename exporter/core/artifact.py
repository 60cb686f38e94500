"""An artifact, its inputs and outputs, and the statistics of its element types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import RequestError, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .graph import TensorSpec
    from .precision import Precision

Array: TypeAlias = "NDArray[Any]"
Feeds: TypeAlias = "Mapping[str, Array]"
Outputs: TypeAlias = "Mapping[str, Array]"
LARGEST_BATCH = 4096
"""Images in one call, far beyond what servers collect: a proof has to hold that many in memory."""


@dataclass(frozen=True)
class ModelIO:
    """Inputs and outputs of an artifact.

    Attributes:
        batch: the fixed batch size, or None for a dynamic one.
        embed_preprocessing: input is uint8 [B, H, W, 3] RGB instead of normalised float32 [B, 3, H, W].
        softmax: outputs are probabilities.
        features: outputs are maps of the stages instead of logits.
        output: which of the task's outputs, one of `Task.choices`; "" is the first of them, or the only one.
        labels: class names, in the order of the head's outputs.
        nms: the best boxes of a detector are chosen inside, where the target runs what takes.
        stages: names of those maps where a model does not hand on four.
    """

    batch: int | None = None
    embed_preprocessing: bool = False
    softmax: bool = False
    features: bool = False
    labels: tuple[str, ...] = ()
    output: str = ""
    stages: tuple[str, ...] = ()
    nms: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise RequestError(f"expected {option('batch')} of 1 to {LARGEST_BATCH} images, found {self.batch}")


@dataclass(frozen=True)
class NativeLibrary:
    """The library beside an artifact that has an operator of our own; see `slide_export.native`.

    Attributes:
        library, source: their names in the artifact's directory.
        compiler: what the compiler says of itself.
        command: how it was called, without paths.
    """

    library: str
    source: str
    compiler: str
    command: str


@dataclass(frozen=True)
class Artifact:
    """A file or directory that a backend wrote.

    Attributes:
        path: the file or directory that a runtime opens.
        settings: what the runtime should be started with, and was proved with.
        graph: the ONNX file beside it that it was built from; proved instead where the artifact cannot run.
        native: the library beside it, without which no runtime loads it; None for all that have none.
    """

    target: str
    precision: Precision
    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    graph: Path | None = None
    native: NativeLibrary | None = None


FLOAT32_VECTORS = "float32 of vectors"
"""Kind of the biases and LayerNorms beside weights in float16, where a target can have vectors in float32 alone. Nobody
can ask for another type, so they are counted apart, and no part of the share by which a precision is judged."""


@dataclass(frozen=True)
class DtypeStats:
    """Element types that an artifact stores and computes in, counted in the artifact itself.

    Attributes:
        stored: bytes of weights by element type.
        computed: convolutions and matrix products by the type that they compute in.
        fixed: whether the artifact itself fixes what it computes in; else this machine's runtime chose.
        marked: convolutions and matrix products that the artifact has 8-bit weights for.
        counted: whether anybody counted; False where the target's backend cannot, and then all else is empty.
    """

    stored: Mapping[str, int]
    computed: Mapping[str, int]
    fixed: bool = True
    marked: int = 0
    counted: bool = True
