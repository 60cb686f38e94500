"""What a bundle says of itself: everything that made it, and the proof."""

import importlib.metadata
import platform
from dataclasses import asdict, dataclass
from typing import Any

from slide_export.backends import registry as backends
from slide_export.benchmark.tune import StageTimes
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.calibration.report import CalibrationReport
from slide_export.calibration.sensitivity import MixedSearch
from slide_export.checkpoint.variants import macs_of
from slide_export.core.artifact import Artifact, DtypeStats, ModelIO
from slide_export.core.model import BlockCertificate, FusedModel, Model
from slide_export.core.proof import ParityReport
from slide_export.inference.served import ServedModel
from slide_export.proof import accuracy as evaluation
from slide_export.proof import precision as truth


@dataclass(frozen=True)
class Made:
    """What one export was asked for, made and found.

    Attributes:
        name: of the bundle.
        variant: as the request names it; None where the file was recognised.
        keep_fp32: modules that the request or a search keeps in float.
        served: the model in the form that was exported.
        certificate: of each fused convolution.
        tuning: the times of every form; empty where none were measured.
        quantization: None in the float precisions.
        calibration: None where nothing was quantized on images.
        accuracy: None where none was measured.
        mixed: the search that `keep_fp32` comes from.
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


def describe(made: Made) -> dict[str, Any]:
    """The manifest of one export, ready for JSON; nothing in it changes from run to run."""
    artifact, proof, interface = made.artifact, made.proof, made.served.io
    return {
        "name": made.name,
        "target": artifact.target,
        "precision": artifact.precision,
        "artifact": {
            "path": artifact.path.name,
            "bytes": _shipped_bytes(artifact),
            "graph": artifact.graph.name if artifact.graph else None,
            "settings": dict(artifact.settings),
        },
        **_origin(made.fused),
        "options": {
            "lowering": made.served.form,
            "variant": made.variant,
            "batch": interface.batch,
            "embed_preprocessing": interface.embed_preprocessing,
            "softmax": interface.softmax,
            "features": interface.features,
            "keep_fp32": list(made.keep_fp32),
        },
        "tuning": [{**asdict(stage), "fastest": stage.fastest} for stage in made.tuning],
        "inputs": [asdict(spec) for spec in artifact.inputs],
        "outputs": [asdict(spec) for spec in artifact.outputs],
        "labels": list(interface.labels),
        "preprocessing": _preprocessing(made.served.trained, interface),
        "fusion": [asdict(block) for block in made.certificate],
        "parity": {**asdict(proof), "multiple": proof.accepted.multiple, "passed": proof.passed},
        "quantization": None if made.quantization is None else {"reduced_range": made.quantization.reduced},
        "calibration": None if made.calibration is None else asdict(made.calibration),
        "census": {**asdict(made.dtype_stats), "sentence": truth.sentence(made.dtype_stats, artifact.precision)},
        "accuracy": evaluation.described(made.accuracy),
        "mixed": None if made.mixed is None else asdict(made.mixed),
        "versions": _versions(artifact.target),
    }


def _shipped_bytes(artifact: Artifact) -> int:
    """Returns the size of what ships: all that the backend wrote, or the artifact without the graph that made it.

    To be asked before anything else is written beside it.
    """
    if artifact.graph is not None:
        return artifact.path.stat().st_size
    return sum(file.stat().st_size for file in artifact.path.parent.rglob("*") if file.is_file())


def _origin(fused: FusedModel) -> dict[str, Any]:
    model, source = fused.trained, fused.trained.provenance
    return {
        "checkpoint": {
            "file": source.path.name,
            "sha256": source.sha256,
            "weights": source.weights,
            "notes": list(source.notes),
        },
        "model": {
            "family": model.family,
            "variant": model.variant,
            "image_size": list(model.image_size),
            "parameters": sum(value.numel() for value in model.module.parameters()),
            "macs": macs_of(fused),
            "config": asdict(model.config),  # type: ignore[call-overload]  # every family's is a dataclass
        },
    }


def _preprocessing(model: Model, interface: ModelIO) -> dict[str, Any]:
    return {
        **asdict(model.data),
        "resize": list(model.data.resized(model.image_size)),
        "crop": list(model.image_size),
        "embedded": interface.embed_preprocessing,
    }


def _versions(target: str) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **ours, **backends.availability(target).versions}
