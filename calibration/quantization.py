"""OnnxGraph, images -> OnnxGraph: precision lives in the graph, as casts (fp16, bf16) or as Q/DQ (int8, w8)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from slide_export.calibration.report import AuditFinding, CalibrationReport
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import FP32, Precision

from .audit import MIN_CALIBRATION_IMAGES, audit
from .image_cache import FedImages
from .images import ImageSet
from .recipe import QuantizationRecipe
from .same_images import Others

FILE = "quantization.yaml"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NumericFormat:
    """How an artifact computes: what a graph is rewritten to, and what PyTorch imitates for the noise floor.

    Attributes:
        recipe: how it is quantized, with the modules that stay in float; None where it is not.
        keep: modules that stay in float where it is not.
    """

    precision: Precision = FP32
    recipe: QuantizationRecipe | None = None
    keep: tuple[str, ...] = ()

    def on_this_machine(self) -> NumericFormat:
        """The same with what this machine's CPU needs of its recipe."""
        return self if self.recipe is None else replace(self, recipe=self.recipe.resolved())

    def keeping(self, modules: Sequence[str]) -> NumericFormat:
        """The same with more modules in float."""
        if self.recipe is None:
            return replace(self, keep=(*self.keep, *modules))
        return replace(self, recipe=replace(self.recipe, keep_fp32=(*self.recipe.keep_fp32, *modules)))


def calibration_images(
    images: ImageSet, proof: ImageSet, judged_on: ImageSet | None, count: int, seed: int
) -> ImageSet:
    """The images to calibrate on: none of the proof or the evaluation, unless too few are left without them."""
    rest = images.without(proof)
    apart = rest if judged_on is None else rest.without(judged_on)
    if others := [other for other in (proof, judged_on) if other is not None and other.files]:
        same = Others(*others)
        if same.among(apart.sample(count, seed)):  # copies and links, which have other paths
            rest, apart = Others(proof).without(rest), same.without(apart)
    if len(apart.files) < MIN_CALIBRATION_IMAGES:
        apart = rest if len(rest.files) >= len(proof.files) else images
    return apart.sample(count, seed)


def with_overlap(
    report: CalibrationReport | None, calibrated_on: ImageSet, proof: ImageSet, judged_on: ImageSet | None
) -> CalibrationReport | None:
    """The report with a finding where the same files were calibrated on and prove or judge the artifact."""
    if report is None:
        return None
    others = {"proof": proof} if judged_on is None else {"proof": proof, "evaluation": judged_on}
    found = [finding for name, other in others.items() for finding in _overlap(calibrated_on, other, name)]
    for finding in found:
        _log.warning("%s: %s", finding.name, finding.message)
    return replace(report, findings=(*report.findings, *found))


def _overlap(calibrated_on: ImageSet, other: ImageSet, name: str) -> Iterator[AuditFinding]:
    total = len(calibrated_on.files)
    if common := len(Others(other).among(calibrated_on)):
        yield AuditFinding(
            f"calibrated-on-{name}",
            "warning",
            f"expected to calibrate on images apart from those of the {name}, found {common} of {total} among them: "
            f"the {name} looks better than on new images; give more or other --images",
        )


def in_precision(
    graph: OnnxGraph, numbers: NumericFormat, images: FedImages | None
) -> tuple[OnnxGraph, CalibrationReport | None]:
    """The graph in a precision, and what was calibrated on where anything was.

    Args:
        images: what ranges are observed on; needed by a calibrated recipe alone.

    Raises:
        CalibrationError: the images are not fit for calibration, see `audit`.
        SlideExportError: see `to_half` and `quantize`.
    """
    from .fp16 import to_half  # a request is refused without onnx_ir, which takes half a second
    from .layer_selection import computed, refuse_unknown
    from .quantizers import quantize

    if numbers.recipe is None:
        refuse_unknown(computed(graph.proto), numbers.keep)
        halved = numbers.precision.floor == "rounded"
        return (to_half(graph, numbers.keep, numbers.precision) if halved else graph), None
    if not numbers.recipe.calibrated or images is None:
        return quantize(graph, None, numbers.recipe), None
    report = audit(images.images, numbers.recipe.accept)
    return quantize(graph, images, numbers.recipe), report
