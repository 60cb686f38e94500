"""One export and what it found -> the manifest of its bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from slide_export.backends import registry as backends
from slide_export.checkpoint.variants import macs_of
from slide_export.core import typed_json
from slide_export.core.artifact import Artifact, DtypeStats
from slide_export.core.float_build import FloatBuild
from slide_export.core.model import ASSUMED, BlockCertificate, FusedModel, Model
from slide_export.core.plain_load import PlainLoad
from slide_export.core.precision import Precision
from slide_export.core.proof import ParityReport
from slide_export.inference.served import ServedModel
from slide_export.proof import accuracy as evaluation
from slide_export.proof.precision import describe as describe_dtypes

from .manifest import Manifest
from .records import (
    AccuracyRecord,
    ArtifactRecord,
    Assumption,
    CheckpointRecord,
    DtypeRecord,
    HitsRecord,
    MeasuredRecord,
    ModelRecord,
    OptionsRecord,
    OtherRecord,
    ParityRecord,
    PlainLoadRecord,
    PrecisionRecord,
    PreprocessingRecord,
    Property,
    QuantizationRecord,
    StageRecord,
)

if TYPE_CHECKING:
    from slide_export.calibration.accuracy import AccuracyReport, Hits, Measured
    from slide_export.calibration.recipe import QuantizationRecipe
    from slide_export.calibration.report import CalibrationReport
    from slide_export.calibration.sensitivity import MixedSearch
    from slide_export.core.measurement import StageTimes


@dataclass(frozen=True)
class AskedFor:
    """What an export was asked for and nothing that it made tells; the last fields of `OptionsRecord`."""

    weights_key: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    backend: Mapping[str, str] | None = None
    image_count: int | None = None
    calibration_size: int | None = None
    seed: int | None = None


def _assumptions(model: Model) -> tuple[Assumption, ...]:
    """What no file tells of a model and nobody said, with the option that says otherwise."""
    return tuple(
        Assumption(value.name, value.value, value.default, value.option or f"--model {value.name}=VALUE")
        for value in (*model.provenance.values, *model.provenance.preprocessing)
        if value.source == ASSUMED
    )


def _properties(model: Model) -> dict[str, Property]:
    """What files may not tell of a model, as it was taken."""
    return {value.name: value.value for value in model.provenance.values}


@dataclass(frozen=True)
class Made:
    """What one export was asked for, made and found.

    Attributes:
        name: of the bundle.
        variant: as the request names it; None where the file was recognised.
        keep_fp32: modules that the request or a search keeps in float.
        asked: what else the export was asked for.
        served: the model in the form that was exported.
        certificate: of each fused convolution.
        tuning: the times of every form; empty where none were measured.
        quantization: None in the float precisions.
        calibration: None where nothing was quantized on images.
        accuracy: None where none was measured.
        mixed: the search that `keep_fp32` comes from.
        float_build: None for the float32 build itself.
        plain_load: None where the backend does not know.
    """

    name: str
    variant: str | None
    keep_fp32: tuple[str, ...]
    served: ServedModel
    fused: FusedModel
    certificate: tuple[BlockCertificate, ...]
    artifact: Artifact
    proof: ParityReport
    dtype_stats: DtypeStats
    tuning: tuple[StageTimes, ...] = ()
    quantization: QuantizationRecipe | None = None
    calibration: CalibrationReport | None = None
    accuracy: AccuracyReport | None = None
    mixed: MixedSearch | None = None
    asked: AskedFor = field(default_factory=AskedFor)
    float_build: FloatBuild | None = None
    plain_load: PlainLoad | None = None


def describe(made: Made) -> Manifest:
    """The manifest of one export, without its files; nothing in it changes from run to run."""
    artifact, io, trained = made.artifact, made.served.io, made.served.trained
    return Manifest(
        name=made.name,
        target=artifact.target,
        precision=PrecisionRecord.of(artifact.precision),
        task=made.served.task.name,
        artifact=ArtifactRecord(
            artifact.path.name,
            _shipped_bytes(artifact),
            artifact.graph.name if artifact.graph else None,
            typed_json.plain(artifact.settings),
        ),
        checkpoint=_checkpoint(trained),
        model=_model(made.fused, len(made.served.input_names)),
        options=OptionsRecord(
            made.served.form,
            made.variant,
            io.batch,
            io.embed_preprocessing,
            io.softmax,
            io.features,
            tuple(made.keep_fp32),
            **vars(made.asked),
            output=io.output,
            nms=io.nms,
        ),
        tuning=tuple(StageRecord(**vars(stage), fastest=stage.fastest) for stage in made.tuning),
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        labels=tuple(io.labels),
        preprocessing=_preprocessing(made.served),
        assumptions=_assumptions(trained),
        fusion=made.certificate,
        parity=_parity(made.proof),
        quantization=None if made.quantization is None else QuantizationRecord(made.quantization.reduced),
        calibration=made.calibration,
        dtype_stats=_dtype_stats(made.dtype_stats, artifact.precision),
        accuracy=None if made.accuracy is None else _accuracy(made.accuracy),
        mixed=made.mixed,
        float_build=made.float_build,
        plain_load=None if made.plain_load is None else PlainLoadRecord.of(made.plain_load),
        native=artifact.native,
        versions=_versions(artifact.target),
    )


def _shipped_bytes(artifact: Artifact) -> int:
    """Size of what ships: all that the backend wrote, or the artifact without the graph that made it.

    To be asked before anything else is written beside it.
    """
    if artifact.graph is not None:
        return artifact.path.stat().st_size
    return sum(file.stat().st_size for file in artifact.path.parent.rglob("*") if file.is_file())


def _checkpoint(model: Model) -> CheckpointRecord:
    source = model.provenance
    return CheckpointRecord(
        source.path.name,
        source.sha256,
        source.weights,
        tuple(source.notes),
        source.format,
        source.container,
        source.wrapper,
        source.prefix,
        tuple(source.dropped),
        tuple(source.assumed),
    )


def _model(fused: FusedModel, inputs: int) -> ModelRecord:
    model = fused.trained
    rows, cols = model.image_size
    return ModelRecord(
        model.family,
        model.variant,
        (rows, cols),
        sum(value.numel() for value in model.module.parameters()),
        typed_json.plain(model.config),  # every family's is a dataclass
        macs_of(fused, inputs),
        _properties(model),
    )


def _preprocessing(served: ServedModel) -> PreprocessingRecord:
    data, size = served.trained.data, served.trained.image_size
    embedded = served.io.embed_preprocessing
    return PreprocessingRecord(**asdict(data), resize=data.resized(size), crop=size, embedded=embedded)


def _parity(proof: ParityReport) -> ParityRecord:
    return ParityRecord(**vars(proof), multiple=proof.accepted.multiple, passed=proof.passed)


def _dtype_stats(found: DtypeStats, precision: Precision) -> DtypeRecord:
    stored, computed = dict(found.stored), dict(found.computed)
    return DtypeRecord(stored, computed, describe_dtypes(found, precision), found.fixed, found.marked, found.counted)


def _accuracy(report: AccuracyReport) -> AccuracyRecord:
    models: dict[str, Any] = {"pytorch": _hits(report.pytorch), "artifact": _hits(report.artifact)}
    models["measured"] = None if report.measured is None else _measured(report.measured)
    sentence = evaluation.sentence(asdict(report))
    return AccuracyRecord(**{**vars(report), **models}, passed=report.passed, sentence=sentence)


def _measured(found: Measured) -> MeasuredRecord:
    others = tuple(OtherRecord(**vars(one)) for one in found.others)
    return MeasuredRecord(**{**vars(found), "others": others})


def _hits(found: Hits | None) -> HitsRecord | None:
    return None if found is None else HitsRecord(found.top1, found.top5)


def _versions(target: str) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **ours, **backends.availability(target).versions}
