"""From a bundle back to its proof."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.calibration.quantization import FILE
from slide_export.calibration.recipe import QuantizationRecipe, parse

from . import backends, bundle, gate, parity
from .checkpoint import load_checkpoint
from .errors import BundleError
from .pipeline import Step, quiet
from .types import Interface, ParityReport, Reference


def verify(path: Path, against: Path | None = None, step: Step = quiet) -> ParityReport:
    """Returns a fresh proof of a bundle, from its golden file alone or from the checkpoint as well.

    Args:
        against: derive the reference anew from this checkpoint, on the golden inputs.

    Raises:
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        GateError: the artifact is not the model, or not in the precision that it claims.
    """
    with step("read the bundle"):
        made = bundle.read(path)
        manifest = made.manifest
        backend = backends.require(manifest["target"], manifest["precision"])
        reference = bundle.golden(made)
        quantization = _quantization(path)
    options = manifest["options"]
    if against is not None:
        with step(f"run the trained model on the golden inputs in float64 and {manifest['precision']}"):
            reference = _rederive(against, manifest, reference, quantization)
    file, graph, settings = (manifest["artifact"][key] for key in ("path", "graph", "settings"))
    with step("count what it stores and computes"):
        census = backend.census(path / file, settings)
    with step("check parity"):
        session = gate.open_session(backend, path / file, path / graph if graph else None, settings)
        accepted = parity.accepted(quantization)
        proof = parity.check(reference, session, options["batch"], classes=not options["features"], accepted=accepted)
    gate.judge(proof, census, manifest["precision"])
    return proof


def _quantization(bundle: Path) -> QuantizationRecipe | None:
    """Returns how a bundle was quantized, None where it is a float one."""
    file = bundle / FILE
    return parse(file.read_text(encoding="utf-8"), FILE) if file.exists() else None


def _rederive(
    checkpoint: Path, manifest: Mapping[str, Any], golden: Reference, quantization: QuantizationRecipe | None
) -> Reference:
    made, options = manifest["checkpoint"], manifest["options"]
    rows, cols = manifest["model"]["image_size"]
    variant, weights = options["variant"], made["weights"]
    model = load_checkpoint(checkpoint, variant=variant, weights=weights, input_size=(rows, cols))
    if model.provenance.sha256 != made["sha256"]:
        raise BundleError(
            f"expected the checkpoint with sha256 {made['sha256'][:16]}…, {checkpoint} has "
            f"{model.provenance.sha256[:16]}…: the bundle was made from another file"
        )
    interface = Interface(
        options["batch"],
        options["embed_preprocessing"],
        options["softmax"],
        options["features"],
        tuple(manifest["labels"]),
    )
    return parity.rerun(model, golden, interface, manifest["precision"], quantization)
