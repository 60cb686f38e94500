"""OnnxGraph, images -> OnnxGraph: precision lives in the graph, as casts (fp16) or as Q/DQ (int8, w8)."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from slide_export.calibration.report import AuditFinding, CalibrationReport
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.core.request import ExportRequest

from . import recipe as recipes
from .audit import ENOUGH, audit
from .evaluation_set import EvaluationSet
from .fp16 import to_half
from .image_cache import FedImages, spool
from .images import ImageSet
from .layer_selection import layers, refuse_unknown
from .quantizers import quantize
from .recipe import QuantizationRecipe

FILE = "quantization.yaml"

_log = logging.getLogger(__name__)


def recipe_of(export: ExportRequest) -> QuantizationRecipe | None:
    """Returns how an export is quantized, None where its precision is a float one.

    Raises:
        RequestError: a recipe is given for a float precision or is not sound, or images are lacking.
    """
    given = export.quantization_recipe
    if not precision_named(export.precision).quantized:
        if given is not None:
            raise RequestError(f"expected --quantization-recipe with int8 or w8, found it with {export.precision}")
        if export.keep_fp32 and export.precision == "fp32":
            raise RequestError("expected --keep-fp32 with a smaller precision, found it with fp32")
        return None
    chosen = recipes.load(given, export.precision) if given else recipes.default(export.target, export.precision)
    if chosen.calibrated and export.images is None:
        raise RequestError(
            f"expected --images with {export.precision}: activations are calibrated on pictures like those that the "
            "model will see, 100 to 500 of them; w8 needs none"
        )
    return replace(chosen, keep_fp32=(*chosen.keep_fp32, *export.keep_fp32)).resolved()


def calibration_images(
    images: ImageSet, proof: ImageSet, export: ExportRequest, judged_on: EvaluationSet | None = None
) -> ImageSet:
    """Returns the images to calibrate on: none of the proof or the evaluation, unless too few are left without them."""
    rest = images.without(proof)
    apart = rest if judged_on is None else rest.without(judged_on.images)
    if len(apart.files) < ENOUGH:
        apart = rest if len(rest.files) >= len(proof.files) else images
    return apart.sample(export.calibration_size, export.seed)


def with_overlap(
    report: CalibrationReport | None, calibrated_on: ImageSet, proof: ImageSet, judged_on: EvaluationSet | None
) -> CalibrationReport | None:
    """Returns the report with a finding where the same files were calibrated on and prove or judge the artifact."""
    if report is None:
        return None
    others = {"proof": proof} if judged_on is None else {"proof": proof, "evaluation": judged_on.images}
    found = [finding for name, other in others.items() for finding in _overlap(calibrated_on, other, name)]
    for finding in found:
        _log.warning("%s: %s", finding.name, finding.message)
    return replace(report, findings=(*report.findings, *found))


def _overlap(calibrated_on: ImageSet, other: ImageSet, name: str) -> Iterator[AuditFinding]:
    total = len(calibrated_on.files)
    if common := total - len(calibrated_on.without(other).files):
        yield AuditFinding(
            f"calibrated-on-{name}",
            "warning",
            f"expected to calibrate on images apart from those of the {name}, found {common} of {total} among them: "
            f"the {name} looks better than on new images; give more or other --images",
        )


def in_precision(
    graph: OnnxGraph,
    precision: str,
    recipe: QuantizationRecipe | None,
    images: ImageSet,
    model: Model,
    interface: ModelIO,
    keep: Sequence[str] = (),
) -> tuple[OnnxGraph, CalibrationReport | None]:
    """Returns the graph in a precision, and what was calibrated on where anything was.

    Args:
        keep: modules that stay in float in fp16; a recipe has its own.

    Raises:
        CalibrationError: the images are not fit for calibration, see `audit`.
        SlideExportError: see `to_half` and `quantize`.
    """
    if recipe is None:
        refuse_unknown(layers(graph.proto), keep)
        return (to_half(graph, keep) if precision == "fp16" else graph), None
    if not recipe.calibrated:
        return quantize(graph, None, recipe), None
    with tempfile.TemporaryDirectory() as temporary:
        pictures = spool(images, model.data, model.image_size, Path(temporary) / "images")
        report = audit(images.source, pictures, model.data, recipe.accept)
        return quantize(graph, FedImages(pictures, model.data, interface), recipe), report
