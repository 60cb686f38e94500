"""All operations that the evaluator knows, joined in one place."""

from __future__ import annotations

from collections.abc import Mapping

from . import (
    compression,
    convolution,
    elementwise,
    indexing,
    linear_algebra,
    normalization,
    reduction,
    resample,
    resize,
    shape,
)
from .arguments import Kernel, kernel
from .errors import MilError
from .program import Operation

KERNELS: Mapping[str, Kernel] = {
    "const": kernel(lambda a: a.value("val"), "val"),
    **elementwise.TABLE,
    **shape.TABLE,
    **indexing.TABLE,
    **linear_algebra.TABLE,
    **reduction.TABLE,
    **normalization.TABLE,
    **convolution.TABLE,
    **resize.TABLE,
    **resample.TABLE,
    **compression.TABLE,
}


def require(operations: tuple[Operation, ...]) -> None:
    """Raise `MilError` if the program uses an operation or operand without a kernel.

    Raises:
        MilError: names all that are not, in one message.
    """
    problems = []
    for operation in operations:
        known = KERNELS.get(operation.type)
        if known is None or operation.has_blocks:
            problems.append(f"operation {operation.type!r} ({operation.name!r})")
            continue
        given = {name for name, _ in operation.bindings()}
        problems += [f"operand {name!r} of {operation}" for name in sorted(given - known.parameters)]
    if problems:
        listed = "; ".join(dict.fromkeys(problems))
        raise MilError(
            f"not implemented by the evaluator: {listed}. Add it to exporter/mil or avoid it when converting"
        )
