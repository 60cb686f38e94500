"""What fails or runs badly on LiteRT alone, and the rules of a saved file."""

from pathlib import Path

from slide_export.core.lint import Finding, LintFact

from . import flatbuffer
from .rules import faults

FACTS = (
    LintFact(
        "batch-fixed",
        "hint",
        "nothing: LiteRT's converter bakes every size in, so one file is for one batch size",
        "litert-torch 0.10.0, convert(dynamic_shapes=...) raises TypeError in its bridge",
    ),
    LintFact(
        "multiplier",
        "warning",
        "measure the form taps or token_taps against grouped: XNNPACK has fast kernels for multiplier 1 alone",
        "tests/benchmarks/RESULTS.md; a block in grouped takes 1.9 times that of taps",
    ),
    LintFact(
        "dtype-bfloat16",
        "error",
        "convert the model to float32 (module.float()) before exporting",
        "LiteRT's CPU kernels have no bfloat16",
    ),
    LintFact(
        "dtype-int64",
        "hint",
        "use int32, or keep indices out of the model",
        "litert-torch 0.10.0 makes int32 of int64 (enable_x64=False)",
    ),
)


def is_artifact(path: Path) -> bool:
    """Whether a file is a `.tflite`: by its ending, or by the identifier that each has."""
    if path.suffix == ".tflite":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == flatbuffer.IDENTIFIER


def lint_artifact(path: Path) -> tuple[Finding, ...]:
    """Findings in a saved file.

    Raises:
        BundleError: it cannot be read.
    """
    return faults(flatbuffer.read(path))
