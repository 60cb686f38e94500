"""The parts of a manifest, one frozen dataclass an object of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, TypeAlias

from slide_export.core.artifact import LARGEST_BATCH, DtypeStats
from slide_export.core.plain_load import PlainLoad
from slide_export.core.precision import FP16, FP32, INT8, W8, Precision
from slide_export.core.proof import Acceptance, Flip, OrderParity, OutputParity, RuleParity
from slide_export.core.typed_json import Count, Least, Measured, Most, Sha256, Size

Property: TypeAlias = str | int | float | bool | tuple[str | int | float | bool, ...]


@dataclass(frozen=True)
class FileRecord:
    """One file of the bundle.

    Attributes:
        bytes: its size.
    """

    bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class PrecisionRecord:
    """The precision of the artifact.

    Attributes:
        name: as `--precision` has it.
        stored: element type of the weights.
        computed: element type that convolutions and matrix products compute in.
    """

    name: str
    stored: str
    computed: str

    @classmethod
    def of(cls, precision: Precision) -> PrecisionRecord:
        """What a manifest says of a precision."""
        return cls(precision.name, precision.stored, precision.computed)


PRECISIONS: Mapping[str, PrecisionRecord] = {known.name: PrecisionRecord.of(known) for known in (FP32, FP16, INT8, W8)}
"""By name; what a manifest of schema 1 names."""


@dataclass(frozen=True)
class ArtifactRecord:
    """What a runtime opens.

    Attributes:
        path: of the file or directory, in the bundle.
        bytes: of what ships.
        graph: the ONNX file that it was built from, where that is beside it.
        settings: what the runtime is started with.
    """

    path: str
    bytes: Count
    graph: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainLoadRecord:
    """What a load without this package's code computes.

    Attributes:
        call: the shortest load that the runtime's manual shows.
        same: whether it computes what was proved on every machine.
        options: what to set for what was proved, in the runtime's words.
        why: what the runtime does.
        computed, proved: types that products compute in, after such a load and in the proof, where it was made.
        evaluator: what ran it there; "" where it was not measured.
        max_abs, limit_max: its largest error, and what the proof allowed; None where it was not measured.
        passed: whether it was within the proof's limits.
        sentence: all of that for people.
        batch: which batch it takes and how another is had; "" where it takes any, or an older bundle does not tell.
    """

    call: str
    same: bool
    options: Mapping[str, str]
    why: str
    computed: tuple[str, ...]
    proved: tuple[str, ...]
    evaluator: str
    max_abs: float | None
    limit_max: float | None
    passed: bool | None
    sentence: str
    batch: str = ""

    @classmethod
    def of(cls, found: PlainLoad) -> PlainLoadRecord:
        """What a manifest says of a load: all but the settings, which are this package's own."""
        return cls(**{one.name: getattr(found, one.name) for one in fields(cls)})


@dataclass(frozen=True)
class CheckpointRecord:
    """Where the weights came from.

    Attributes:
        file: name of the checkpoint.
        weights: "raw" or "ema".
        notes: what the loader decided, one sentence each.
        format: the library that named the tensors.
        container: what the file or folder is.
        wrapper: the key that the weights stood under; "" where they were the top level.
        prefix: what was removed from every name.
        dropped: what the file holds that is no part of the model.
        assumed: what no file told; these sentences stand in `notes` too.
    """

    file: str
    sha256: Sha256
    weights: str
    notes: tuple[str, ...] = ()
    format: str = "official names"
    container: str = ""
    wrapper: str = ""
    prefix: str = ""
    dropped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelRecord:
    """The trained model.

    Attributes:
        image_size: rows and columns.
        parameters: of the train-time form.
        macs: multiply-adds of one image after fusion; 0 where an older bundle does not tell.
        config: the fields of the family's configuration.
        properties: what the checkpoint says of the model beside its configuration, by name.
    """

    family: str
    variant: str
    image_size: tuple[Size, Size]
    parameters: Count
    config: Mapping[str, Any]
    macs: Count = 0
    properties: Mapping[str, Property] = field(default_factory=dict)


@dataclass(frozen=True)
class OptionsRecord:
    """What the export was asked for.

    Attributes:
        form: of slide attention, or one for each stage that slides.
        variant: as it was asked for; None where the checkpoint told.
        batch: the fixed batch size; None is a dynamic one.
        features: outputs are stage maps.
        output: which of the task's outputs; "" where it has no others.
        nms: the best boxes of a detector are chosen inside.
        keep_fp32: modules that stay in float.
        weights_key: where in the checkpoint the weights are; None where they were found.
        values: what the user said of the model that no file tells.
        preprocessing: what the user said of it, by the options' names.
        backend: every option of the target's backend; None where an older bundle does not tell.
        image_count: how many images the proof takes at most; None where an older bundle does not tell.
        calibration_size, seed: how many images int8 is calibrated on at most, and what draws them; None elsewhere.
    """

    form: str
    variant: str | None
    batch: Annotated[int, Least(1), Most(LARGEST_BATCH)] | None
    embed_preprocessing: bool
    softmax: bool
    features: bool
    keep_fp32: tuple[str, ...] = ()
    weights_key: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    backend: Mapping[str, str] | None = None
    image_count: Size | None = None
    calibration_size: Size | None = None
    seed: int | None = None
    output: str = ""
    nms: bool = False


@dataclass(frozen=True)
class StageRecord:
    """What `--tune` measured of one stage; see `core.measurement.StageTimes`.

    Attributes:
        fastest: the form that was taken.
    """

    layer: str
    size: tuple[int, int, int]
    heads: int
    kernel_size: int
    ms: Mapping[str, float]
    machine: str
    fastest: str


@dataclass(frozen=True)
class PreprocessingRecord:
    """From a decoded picture to the input.

    Attributes:
        mean, std: of RGB in 0..1: (value - mean) / std.
        interpolation: "bicubic" or "bilinear".
        keep_aspect: the short side is resized, else both sides.
        scale: size after resizing over size after the crop.
        resizes: False where a picture larger than the input is cut and not resized.
        fits: the whole picture is resized to the largest that the input holds, its ratio kept, at the top left, and the
            rest is filled with the mean's colour, rounded to 8 bits; `keep_aspect` and `resize` say nothing then.
        resize, crop: rows and columns.
        embedded: the artifact does the normalisation, and takes uint8 [B, H, W, 3].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    keep_aspect: bool
    scale: float
    resize: tuple[Size, Size]
    crop: tuple[Size, Size]
    embedded: bool
    resizes: bool = True
    fits: bool = False


@dataclass(frozen=True)
class Assumption:
    """What no file tells and nobody said, so that a value was assumed.

    Attributes:
        name: of what was assumed.
        why: where the value comes from.
        option: what says otherwise, `--model scale=2` for instance.
    """

    name: str
    value: Any
    why: str
    option: str


@dataclass(frozen=True)
class ParityRecord:
    """The verdict on the artifact when it was made; see `core.proof.ParityReport`.

    Attributes:
        multiple: of the noise floor; the same as `accepted.multiple`.
        passed: whether it equals the trained model.
        decisions: an image; one for a class, one a pixel for a map of classes.
    """

    evaluator: str
    source: str
    images: Count
    batch_sizes: tuple[Size, ...]
    outputs: tuple[OutputParity, ...]
    top1: float | None
    flips: tuple[Flip, ...]
    accepted: Acceptance
    multiple: float
    passed: bool
    decisions: Count = 1
    spread: Measured | None = None
    orders: tuple[OrderParity, ...] = ()
    reordered: Measured | None = None
    reordered_flips: tuple[Flip, ...] = ()
    rule: RuleParity | None = None


@dataclass(frozen=True)
class QuantizationRecord:
    """What `quantization.yaml` leaves to the machine.

    Attributes:
        reduced_range: weights take 7 of the 8 bits.
    """

    reduced_range: bool


@dataclass(frozen=True)
class DtypeRecord:
    """What the artifact stores and computes; see `core.artifact.DtypeStats`.

    Attributes:
        sentence: the same in words.
    """

    stored: Mapping[str, int]
    computed: Mapping[str, int]
    sentence: str
    fixed: bool = True
    marked: int = 0
    counted: bool = True

    @property
    def stats(self) -> DtypeStats:
        """The counts, without words."""
        return DtypeStats(self.stored, self.computed, self.fixed, self.marked, self.counted)


@dataclass(frozen=True)
class HitsRecord:
    """How often a model is right, as shares; see `calibration.accuracy.Hits`."""

    top1: float
    top5: float | None


@dataclass(frozen=True)
class OtherRecord:
    """A figure beside the measured one, by its name with the unit."""

    name: str
    pytorch: float
    artifact: float


@dataclass(frozen=True)
class MeasuredRecord:
    """A figure of both models' answers; see `calibration.accuracy.Measured`."""

    name: str
    unit: str
    pytorch: float
    artifact: float
    others: tuple[OtherRecord, ...] = ()


@dataclass(frozen=True)
class AccuracyRecord:
    """What the artifact loses on `--eval`; see `calibration.accuracy.AccuracyReport`.

    Attributes:
        passed: whether the goal was met.
        sentence: the same in words.
    """

    evaluator: str
    source: str
    digest: str
    images: Count
    pytorch: HitsRecord | None
    artifact: HitsRecord | None
    lost: Count
    won: Count
    p_value: float | None
    drop: float | None
    interval: tuple[float, float] | None
    agreement: float | None
    sqnr_db: Measured
    max_drop: float | None
    min_sqnr_db: float | None
    passed: bool
    sentence: str
    skipped: Count = 0
    enough: int | None = None
    measured: MeasuredRecord | None = None
