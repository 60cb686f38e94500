"""The stages that make artifacts, each in a process of its own whose paths are the same on every machine.

in/checkpoint/NAME  in/images/NAME          -> prepared   out: prepared/
in/prepared  in/images/NAME                 -> export     out: out/NAME-TARGET-PRECISION/
in/bundle                                   -> verify
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slide_export.bundle import staging
from slide_export.calibration.images import bundled, find
from slide_export.calibration.quantization import NumericFormat
from slide_export.core.errors import GateError
from slide_export.core.request import ExportRequest
from slide_export.verification.batch import VerifyOptions, prove_each
from slide_export.verification.opening import opened_here
from slide_export.verification.outcome import as_plain
from slide_export.workflows import prepared_files
from slide_export.workflows.export import complete
from slide_export.workflows.options import request_of
from slide_export.workflows.prepare import prepare
from slide_export.workflows.resolve import SourceRequest, resolve

INPUT, PREPARED, OUT = Path("in"), Path("prepared"), Path("out")


def request(options: Mapping[str, Any], target: str) -> ExportRequest:
    """An export's request whose files are in this directory."""
    given: dict[str, Any] = {**options, "out": OUT}
    if images := only(INPUT / "images"):
        given["images"] = images
    if "input_size" in given and given["input_size"] is not None:
        given["input_size"] = tuple(given["input_size"])
    checkpoint = only(INPUT / "checkpoint") or INPUT / "checkpoint" / "none"
    return request_of(checkpoint, target, given)  # type: ignore[arg-type]


def prepare_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Load, prove sound, fuse and certify a checkpoint, for all the artifacts that come of it."""
    asked = request(order["spec"]["options"], "onnx")
    images = bundled() if asked.images is None else find(asked.images)
    source = SourceRequest(asked.source, asked.interface, images, asked.image_count, asked.keep_fp32, asked.form)
    prepared = prepare(source)
    prepared.with_floor(NumericFormat())
    PREPARED.mkdir()
    prepared_files.write(prepared, PREPARED)
    model = prepared.served.trained
    return {"exit_code": 0, "message": "", "output": str(PREPARED), "result": {"variant": model.variant}}


def export_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Make one artifact of a prepared checkpoint; one that must not ship is an output too, to be looked at."""
    options = order["spec"]["options"]
    plan = resolve(request(options["export"], options["target"]))
    prepared = prepared_files.read(INPUT / "prepared")
    try:
        bundle = complete(plan, prepared)
    except GateError as error:
        kept = staging.rejected(plan.destination.path)
        output = {"output": str(kept)} if kept.is_dir() else {}
        said = str(error).partition("; kept as ")[0]  # what it says next is of this directory
        return {"exit_code": error.exit_code, "message": f"{said}; kept in the artifact store", **output}
    manifest = bundle.manifest
    made = {"target": manifest.target, "precision": manifest.precision.name, "variant": manifest.model.variant}
    size_mib = manifest.artifact.bytes / (1 << 20)
    return {
        "exit_code": 0,
        "message": "",
        "output": str(bundle.path),
        "result": {"bundle": bundle.path.name, **made},
        "measures": {"size_mib": (size_mib, None, None)},
    }


def verify_one(_order: Mapping[str, Any]) -> dict[str, Any]:
    """Prove a bundle again where this worker is, in this process: one that crashes its runtime ends a job alone."""
    (outcome,) = prove_each([INPUT / "bundle"], VerifyOptions(opening=opened_here))
    told = as_plain([replace(outcome, seconds=0.0)])
    return {"exit_code": outcome.exit_code, "message": outcome.message, "result": told}


def only(directory: Path) -> Path | None:
    """The one entry of a directory; None where there is no directory."""
    return next(iter(directory.iterdir()), None) if directory.is_dir() else None
