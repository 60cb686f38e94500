"""What fails or runs badly on CoreML alone."""

from slide_export.core.graph import MAX_RANK
from slide_export.core.lint import LintFact

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
        "measure --form taps against grouped: k*k convolutions of multiplier 1",
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
