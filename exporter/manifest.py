"""What a bundle says of itself: everything that made it, and the proof."""

import importlib.metadata
import platform
from dataclasses import asdict
from typing import Any

from slide_export.calibration.accuracy import AccuracyReport

from . import backends, evaluation, truth
from .lowering.tune import StageTimes
from .types import Artifact, BlockCertificate, CalibrationReport, Census, LoweredModel, ParityReport, Recipe


def describe(
    recipe: Recipe,
    name: str,
    lowered: LoweredModel,
    artifact: Artifact,
    certificate: tuple[BlockCertificate, ...],
    proof: ParityReport,
    census: Census,
    tuning: tuple[StageTimes, ...] = (),
    calibration: CalibrationReport | None = None,
    accuracy: AccuracyReport | None = None,
) -> dict[str, Any]:
    """Returns the manifest of one export, ready for JSON; nothing in it changes from run to run."""
    model, interface = lowered.fused.trained, recipe.interface
    data, made = model.data, model.provenance
    return {
        "name": name,
        "target": artifact.target,
        "precision": artifact.precision,
        "artifact": {
            "path": artifact.path.name,
            "bytes": sum(file.stat().st_size for file in artifact.path.parent.rglob("*") if file.is_file()),
            "graph": artifact.graph.name if artifact.graph else None,
            "settings": dict(artifact.settings),
        },
        "checkpoint": {
            "file": made.path.name,
            "sha256": made.sha256,
            "weights": made.weights,
            "notes": list(made.notes),
        },
        "model": {
            "family": model.family,
            "variant": model.variant,
            "image_size": list(model.image_size),
            "parameters": sum(value.numel() for value in model.module.parameters()),
            "config": asdict(model.config),  # type: ignore[call-overload]  # every family's is a dataclass
        },
        "options": {
            "lowering": lowered.lowering,
            "variant": recipe.variant,
            "batch": interface.batch,
            "embed_preprocessing": interface.embed_preprocessing,
            "softmax": interface.softmax,
            "features": interface.features,
            "keep_fp32": list(recipe.keep_fp32),
        },
        "tuning": [{**asdict(stage), "fastest": stage.fastest} for stage in tuning],
        "inputs": [asdict(spec) for spec in artifact.inputs],
        "outputs": [asdict(spec) for spec in artifact.outputs],
        "labels": list(interface.labels),
        "preprocessing": {
            **asdict(data),
            "resize": list(data.resized(model.image_size)),
            "crop": list(model.image_size),
            "embedded": interface.embed_preprocessing,
        },
        "fusion": [asdict(block) for block in certificate],
        "parity": {**asdict(proof), "multiple": proof.accepted.multiple, "passed": proof.passed},
        "calibration": None if calibration is None else asdict(calibration),
        "census": {**asdict(census), "sentence": truth.sentence(census, recipe.precision)},
        "accuracy": evaluation.described(accuracy),
        "mixed": None if recipe.mixed is None else asdict(recipe.mixed),
        "versions": _versions(artifact.target),
    }


def _versions(target: str) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **ours, **backends.availability(target).versions}
