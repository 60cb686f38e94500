"""Every value that passes from one stage to the next. All frozen; importing this file imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from slide_export.calibration.accuracy import AccuracyGoal
    from slide_export.calibration.recipe import QuantizationRecipe
    from slide_export.calibration.search import MixedSearch
    from slide_export.models import Config, DataConfig

Array: TypeAlias = "NDArray[Any]"
Feeds: TypeAlias = "Mapping[str, Array]"
Outputs: TypeAlias = "Mapping[str, Array]"

SIGNIFICANCE = 0.01
BATCH_SIZES = (1, 2, 3, 8)  # where a dynamic batch is checked: 0 and 1 are what exporters bake in


@dataclass(frozen=True)
class Provenance:
    """Where a model's weights came from.

    Attributes:
        path: the checkpoint file.
        sha256: of that file.
        weights: "raw" or "ema".
        notes: what the loader decided, one sentence each.
    """

    path: Path
    sha256: str
    weights: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A train-time module with its trained weights, in eval mode.

    Attributes:
        variant: name of the size, or "FAMILY (custom)".
        image_size: rows and columns of the input.
    """

    module: nn.Module
    family: str
    variant: str
    config: Config
    data: DataConfig
    provenance: Provenance

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
class LoweredModel:
    """The fused model in the operators that a target runs."""

    module: nn.Module
    fused: FusedModel
    lowering: str


@dataclass(frozen=True)
class Interface:
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

    @property
    def input_name(self) -> str:
        """Name of the only input."""
        return "images"

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        if self.features:
            return ("stage1", "stage2", "stage3", "stage4")
        return ("probabilities",) if self.softmax else ("logits",)


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of an input or output; a str in the shape is a dynamic size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A checked ONNX model."""

    proto: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


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
class Option:
    """A choice that one backend alone has.

    Attributes:
        default: taken where the user says nothing.
        help: what it does, in a few words.
        choices: the values that it may have; empty allows any.
    """

    default: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """What a backend is asked for.

    Attributes:
        options: every option of the backend, validated, with the defaults filled in.
        quantization: how weights are quantized, None in the float precisions.
    """

    precision: str
    interface: Interface
    options: Mapping[str, str] = field(default_factory=dict)
    quantization: QuantizationRecipe | None = None


@dataclass(frozen=True)
class Census:
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


@dataclass(frozen=True)
class Availability:
    """What a backend can do on this machine.

    Attributes:
        versions: distribution -> installed version.
        missing: distributions that are not installed.
        install: the command that installs them.
        obstacle: why artifacts cannot be run here, None where they can.
        options: what the backend alone can be told.
    """

    target: str
    precisions: tuple[str, ...]
    versions: Mapping[str, str]
    missing: tuple[str, ...]
    install: str
    obstacle: str | None
    options: Mapping[str, Option]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing, so that artifacts can be made here."""
        return not self.missing

    @property
    def proves(self) -> str:
        """What a proof here runs: the artifact, the graph that it was built from, or nothing."""
        if not self.ready:
            return "nothing"
        return "its graph" if self.obstacle else "the artifact"


@dataclass(frozen=True)
class Reference:
    """The trained model's own answers, and what a precision costs it.

    Attributes:
        source: where the images came from.
        images: what they are called.
        feeds: what an artifact gets, first axis the image.
        exact: outputs of the trained, unfused model in float64.
        rounded: the same at the artifact's precision.
    """

    source: str
    images: tuple[str, ...]
    feeds: Feeds
    exact: Outputs
    rounded: Outputs


@dataclass(frozen=True)
class OutputParity:
    """How far one output of an artifact is from the float64 reference, beside how far PyTorch at its precision is.

    Attributes:
        max_abs, mean_abs, rms: of artifact - reference, over all images and batch sizes.
        floor_max, floor_rms: the noise floor: the same of PyTorch at this precision - reference.
        limit_max, limit_rms: accepted up to here.
        sqnr_db: signal to noise, 10 log10(sum reference^2 / sum error^2).
        cosine: smallest cosine of an image's output and its reference.
    """

    name: str
    max_abs: float
    mean_abs: float
    rms: float
    floor_max: float
    floor_rms: float
    limit_max: float
    limit_rms: float
    sqnr_db: float
    cosine: float

    @property
    def passed(self) -> bool:
        """Whether both errors are within their limits; a NaN is not."""
        return self.max_abs <= self.limit_max and self.rms <= self.limit_rms


@dataclass(frozen=True)
class Flip:
    """An image whose top class changed, and by how much the reference had preferred it (in the output's units)."""

    image: str
    expected: int
    found: int
    margin: float


@dataclass(frozen=True)
class Acceptance:
    """What a proof accepts.

    Attributes:
        multiple: of the noise floor, for the largest error and for the root mean square.
        min_sqnr_db: of every output; None asks for none, the floor says it all.
        min_top1: refused where this share of equal top classes can be ruled out; None likewise.
    """

    multiple: float
    min_sqnr_db: float | None = None
    min_top1: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """The verdict on one artifact.

    Attributes:
        evaluator: which program ran the artifact.
        source: where the images came from.
        images: how many.
        batch_sizes: which were run.
        top1: share of images whose top class agrees; None without classes.
        flips: the images that do not.
        accepted: what was accepted.
    """

    evaluator: str
    source: str
    images: int
    batch_sizes: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    top1: float | None
    flips: tuple[Flip, ...]
    accepted: Acceptance

    @property
    def passed(self) -> bool:
        """Whether every output is within its limits and clear enough, and no confident answer changed."""
        within = all(output.passed for output in self.outputs)
        return within and not (self.noisy_outputs or self.confident_flips or self.too_many_flips)

    @property
    def noisy_outputs(self) -> tuple[OutputParity, ...]:
        """Outputs whose signal to noise is below what was accepted; a NaN is."""
        least = self.accepted.min_sqnr_db
        return () if least is None else tuple(o for o in self.outputs if not o.sqnr_db >= least)

    @property
    def too_many_flips(self) -> bool:
        """Whether so few top classes are equal that the accepted share is ruled out, at 1 percent significance."""
        share = self.accepted.min_top1
        if share is None or self.top1 is None:
            return False
        equal = self.images - len(self.flips)
        chances = (math.comb(self.images, n) * share**n * (1 - share) ** (self.images - n) for n in range(equal + 1))
        return math.fsum(chances) < SIGNIFICANCE

    @property
    def confident_flips(self) -> tuple[Flip, ...]:
        """Flips that rounding cannot explain: the reference's margin is over twice the accepted error."""
        limit = max((output.limit_max for output in self.outputs), default=0.0)
        return tuple(flip for flip in self.flips if flip.margin > 2 * limit)


@dataclass(frozen=True)
class AuditFinding:
    """Something about calibration images that makes them less fit, or unfit.

    Attributes:
        name: of the check, `wrong-normalisation` for instance.
        severity: "error" or "warning".
        message: what was expected, what was found, what to do.
    """

    name: str
    severity: str
    message: str


@dataclass(frozen=True)
class CalibrationReport:
    """What the ranges of activations were observed on.

    Attributes:
        source: where the images came from.
        images: how many.
        sha256: of their pixels, as the model sees them before normalisation, in order.
        findings: what the audit said.
    """

    source: str
    images: int
    sha256: str
    findings: tuple[AuditFinding, ...]


@dataclass(frozen=True)
class Recipe:
    """One export, whole: what the command line says.

    Attributes:
        lowering: of slide attention, or one for each stage that slides.
        tune: measure every lowering on this machine and take the fastest.
        images: for the parity check and, in int8, the calibration; None takes the bundled photographs.
        image_count: how many images the parity check takes at most.
        calibration_size: how many images the calibration takes at most, drawn with `seed`.
        quantization_recipe: a YAML file; None takes the target's own.
        name: of the bundle; None takes the checkpoint's file name.
        input_size: rows and columns; None takes the trained size.
        options: what the target's backend alone understands.
        comparison: take models too that are for comparison only; what becomes of them is measured and never ships.
        accuracy: what the artifact may lose; None measures nothing.
        keep_fp32: modules that stay in float, beside those that a quantization recipe keeps.
        mixed_base: what `mixed` mixes with float.
        mixed: the search that `keep_fp32` comes from.
    """

    checkpoint: Path
    target: str = "onnx"
    precision: str = "fp32"
    lowering: str = "auto"
    tune: bool = False
    out: Path = Path("exported")
    name: str | None = None
    overwrite: bool = False
    variant: str | None = None
    weights: str = "raw"
    input_size: tuple[int, int] | None = None
    images: Path | None = None
    image_count: int = 8
    calibration_size: int = 300
    seed: int = 0
    quantization_recipe: Path | None = None
    interface: Interface = Interface()
    options: Mapping[str, str] = field(default_factory=dict)
    comparison: bool = False
    accuracy: AccuracyGoal | None = None
    keep_fp32: tuple[str, ...] = ()
    mixed_base: str = "int8"
    mixed: MixedSearch | None = None


@dataclass(frozen=True)
class Bundle:
    """A finished directory: artifact, manifest.json, golden.safetensors, report.md.

    Attributes:
        manifest: the parsed manifest.json.
    """

    path: Path
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` tells about a checkpoint.

    Attributes:
        parameters: of the train-time form, frozen ones included.
        macs: multiply-adds of convolutions and matrix products at batch 1, both convolution paths counted.
        fused_macs: the same after fusion.
        drift: how far each slide block's shift path has moved from the pure shift, by module name.
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
