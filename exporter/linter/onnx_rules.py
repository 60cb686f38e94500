"""How the linter's facts are found in an ONNX graph, whoever exported it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnx import TensorProto

from . import onnx_checks as checks
from . import onnx_indexing as indexing
from .facts import Check, always, limited, rules_of
from .onnx_view import Graph
from .rules import Finding, Rule, judge, known_targets

if TYPE_CHECKING:
    import onnx

CHECKS: Mapping[str, Check[Graph]] = {
    "rank": limited(checks.computed_rank),
    "rank-view": limited(checks.viewed_rank),
    "im2col": always(indexing.im2col),
    "unfold-slices": always(indexing.stacked_slices),
    "gather": always(indexing.gathers),
    "roll-gathers": always(indexing.roll_gathers),
    "roll-slices": always(indexing.roll_slices),
    "select": always(indexing.selections),
    "gather-constant-node": always(indexing.constant_gathers),
    "multiplier": always(checks.multiplier),
    "batch-fixed": always(checks.fixed_batch),
    "batch-baked": always(checks.baked_batch),
    "dtype-none": always(checks.element(*checks.NO_NUMBERS)),
    "dtype-bfloat16": always(checks.element(TensorProto.BFLOAT16)),
    "dtype-double": always(checks.element(TensorProto.DOUBLE)),
    "dtype-int64": always(checks.int64_activations),
    "dtype-int64-node": always(checks.int64_activations),
    "dtype-uint8": always(checks.inner_uint8),
    "data-dependent-none": always(checks.operators("Unique", "Compress")),
    "data-dependent": always(checks.operators("NonZero", "NonMaxSuppression")),
    "control-flow": always(checks.operators("If", "Loop", "Scan")),
    "dynamic-shape": always(checks.operators("Shape", "Size")),
    "scalar-integer": always(checks.scalar_integers),
    "opset-unreleased": always(checks.unreleased_opset),
    "opset": limited(checks.opset_above),
    "opset-in-full": always(checks.opset_above(checks.READ_IN_FULL)),
    "custom-operator": always(checks.custom_operators),
    "own-operator": always(checks.own_operators),
}
"""How each fact is found in a graph; the order is that of the findings."""


def rules(targets: Sequence[str] = ()) -> tuple[Rule[Graph], ...]:
    """The rules of these targets, or of all."""
    return rules_of(CHECKS, targets)


def lint_onnx(proto: onnx.ModelProto, targets: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Findings in any ONNX model, for these targets or all."""
    return judge(rules(targets), Graph(proto), known_targets(targets))
