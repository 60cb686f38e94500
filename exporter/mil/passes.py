"""coremltools' passes over a program, without those that change values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

WRONG = frozenset({"common::fuse_elementwise_to_batchnorm"})
"""Makes one `batch_norm` of a `mul` and an `add` per channel and leaves its epsilon at 1e-5 with a variance of 1: every
value is 5e-6 too small (coremltools 9.0, converters/mil/mil/passes/defs/optimize_elementwise_binary.py). In a program
of float16 it gives that operation a mean in float32 too, which is then refused."""


def pipeline() -> Any:
    """The passes of a conversion."""
    import coremltools as ct

    passes = ct.PassPipeline()
    passes.remove_passes(WRONG)
    return passes


@contextlib.contextmanager
def in_compression() -> Iterator[None]:
    """Have coremltools convert a compressed program with the same passes; it has no option for them.

    Source: coremltools 9.0, models/utils.py, `_apply_graph_pass`, which calls `_mil_convert` with all passes.
    """
    from coremltools.models import utils

    whole = utils._mil_convert
    utils._mil_convert = partial(whole, pass_pipeline=pipeline())
    try:
        yield
    finally:
        utils._mil_convert = whole
