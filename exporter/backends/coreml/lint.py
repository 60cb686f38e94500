"""What fails or runs badly on CoreML alone: the facts, and the Neural Engine rules of a saved package."""

from pathlib import Path

from slide_export.core.errors import BundleError
from slide_export.core.graph import MAX_RANK
from slide_export.core.lint import Finding, LintFact

FACTS = (
    LintFact(
        "rank",
        "error",
        "merge axes (rows and columns into one) until every tensor has rank 5 or less",
        "coremltools#1723",
        limit=MAX_RANK,
    ),
    LintFact(
        "rank-view",
        "hint",
        "coremltools expands view-permute-view, reshape-transpose-reshape in ONNX, by itself; two rank-4 steps need no "
        "such luck",
        "coremltools pass expand_high_rank_reshape_and_transpose",
        limit=MAX_RANK,
    ),
    LintFact(
        "roll",
        "warning",
        "two slices and one concatenation an axis (slide_export.models.layers.roll): CoreML makes gathers of a roll",
        "coremltools 9.0 frontend/torch/ops.py roll; machinelearning.apple.com/research/vision-transformers",
    ),
    LintFact(
        "roll-slices",
        "hint",
        "fine in ONNX; before CoreML see that the PyTorch module slices too: torch.roll becomes two gathers there",
        "coremltools 9.0 converters/mil/frontend/torch/ops.py roll",
    ),
    LintFact(
        "multiplier",
        "warning",
        "measure the form taps against grouped: k*k convolutions of multiplier 1",
        "no source covers it: sbryngelson/ane-guide measured groups == channels alone",
        confirmed=False,
    ),
    LintFact(
        "dtype-bfloat16",
        "error",
        "convert the model to float32 (module.float()) before exporting",
        "coremltools 9.0 frontend/torch/utils.py has no bfloat16",
    ),
    LintFact(
        "dtype-int64",
        "warning",
        "use int32, or keep indices out of the model",
        "CoreML has no 64-bit integers: coremltools makes int32 of them",
    ),
    LintFact(
        "scalar-integer",
        "warning",
        "keep sizes Python ints while tracing, and numpy below 2.4 with coremltools 9.0",
        "coremltools#2633",
    ),
)


def is_artifact(path: Path) -> bool:
    """Whether a path is an ML Program: by its ending, or by the manifest that every package has."""
    return path.suffix == ".mlpackage" or (path / "Manifest.json").is_file()


def lint_artifact(path: Path) -> tuple[Finding, ...]:
    """Findings of the Neural Engine rules in a saved package.

    Raises:
        BundleError: the package cannot be read.
    """
    from slide_export.mil import MilError
    from slide_export.mil.convert import no_progress

    from .ane import lint_package

    try:
        with no_progress():  # the first import of coremltools logs what it lacks
            return lint_package(path)
    except MilError as error:
        raise BundleError(str(error)) from error
