"""What fails or runs badly on ExecuTorch alone, and in a saved program."""

from pathlib import Path

from slide_export.core.lint import Finding, LintFact

from .program import read_program

MOST_OUTSIDE = 40
"""Operators outside of XNNPACK's parts that a Slide-Swin-T needs at most: LayerNorms, a mean, softmax over taps."""
PER_PART = "each ends one part of the program that XNNPACK runs and begins another"

FACTS = (
    LintFact(
        "multiplier",
        "warning",
        "take the form pointwise_taps or shifts: XNNPACK's fast depthwise kernels need a multiplier of 1",
        "measured: grouped takes 2.8 times as long as taps, one block at 56x56, one thread",
    ),
    LintFact(
        "dtype-bfloat16",
        "error",
        "convert the model to float32 (module.float()) before exporting",
        "executorch 1.5.1 XNNPACK partitioner: float32, float16 and 8 bits alone",
    ),
)


def is_artifact(path: Path) -> bool:
    """Whether a path is an ExecuTorch program, by its ending."""
    return path.suffix == ".pte"


def lint_artifact(path: Path) -> tuple[Finding, ...]:
    """Findings in a saved program: operators that XNNPACK does not run.

    Raises:
        BundleError: the program cannot be read.
    """
    program = read_program(path)
    count, parts = sum(program.outside.values()), len(program.parts)
    if not count:
        return ()
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(program.outside.items()))
    return (
        Finding(
            ("executorch",),
            "warning" if count > MOST_OUTSIDE else "hint",
            "outside-delegate",
            "",
            f"{count} operators between {parts} parts that XNNPACK runs: {kinds}; {PER_PART}",
            "LayerNorm has no operator in XNNPACK and stays; for the others try another form, or a fixed batch",
            "executorch 1.5.1 backends/xnnpack/partition/config",
        ),
    )
