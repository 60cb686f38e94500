"""Why a node stays in float32 when the rest of the graph becomes float16: one class a reason, each says what it saw.

Source: overflow sits in the interiors of LayerNorm and softmax, onnxruntime PR#13639, TensorRT #4493; strong typing,
TensorRT-LLM #3223.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from slide_export.core.graph import inside, sorting_modules
from slide_export.graph.values import scope_of
from slide_export.native import DOMAIN

from .layer_selection import in_modules

INTERIORS = frozenset({"Softmax", "LogSoftmax", "LayerNormalization", "ReduceMean", "ReduceSum", "Max", "Sub", "Exp"})
FRONT = frozenset({"Cast", "Mul", "Add", "Sub", "Div", "Transpose", "Reshape"})
"""What embedded preprocessing is made of, see `inference/export_wrapper.py`."""
ROUNDS_TO_ZERO = float(np.finfo(np.float16).smallest_subnormal) / 2  # and what is smaller: a tie goes to the even one


@dataclass(frozen=True)
class Kept:
    """A node that stays in float32.

    Attributes:
        node: its name, `/layers.0/blocks.1/attn/Softmax`.
        reason: name of the class that keeps it.
        because: what was seen, half a sentence.
    """

    node: str
    reason: str
    because: str


class Reason(Protocol):
    """A predicate that sees the nodes in the order of execution and may remember what it has seen."""

    def because(self, node: ir.Node) -> str | None:
        """What keeps this node in float32, None where nothing does."""


class Preprocessing:
    """Embedded preprocessing: 0 to 255 times the scale cancels against the shift.

    1. A node of `FRONT` all of whose activations are pixels, or come from such nodes: kept.
    2. The first node of another kind ends the front: what takes its result is the model.

        Given    images uint8 -> Cast -> Mul(scale) -> Add(shift) -> Conv
        Result   kept:           Cast    Mul           Add
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.pixels = {value for value in graph.inputs if value.dtype != ir.DataType.FLOAT}

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        fed = _activations(node)
        if node.op_type not in FRONT or not fed or not self.pixels.issuperset(fed):  # Case 2
            return None
        self.pixels.update(node.outputs)
        return "it turns pixels into what the model takes"


class SumOfManyTerms:
    """Sums over many terms, and squares: the operators of `INTERIORS`, whatever they take."""

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        return f"{node.op_type} sums many terms or grows beyond them" if node.op_type in INTERIORS else None


class WrittenOutSoftmax:
    """A softmax that a form of slide attention writes out, see `inference/forms/taps.py`.

    1. A sum of exponentials, or of such sums: kept. The exponentials are an interior already.
    2. A quotient by such a sum: kept.

        Given    logits -> Sub(max) -> Exp -> e0; e0 + e1 -> s1; s1 + e2 -> s2; e0 / s2 -> p0
        Result   kept:                            Add            Add            Div
    """

    def __init__(self) -> None:
        self.sums: set[ir.Value] = set()

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        fed = _activations(node)
        if node.op_type == "Exp" or (node.op_type == "Add" and fed and self.sums.issuperset(fed)):  # Case 1
            self.sums.update(node.outputs)
            return "it is a term or a sum of a softmax's denominator"
        if node.op_type == "Div" and node.inputs[1] in self.sums:  # Case 2
            return "it divides by a softmax's denominator"
        return None


class VanishingWeight:
    """A tensor of weights that is not zero, and that float16 would leave nothing of."""

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        for value in node.inputs:
            if value is not None and _is_weight(value) and value.dtype == ir.DataType.FLOAT:
                largest = float(np.abs(_numbers(value)).max(initial=0))
                if 0 < largest <= ROUNDS_TO_ZERO:
                    return f"the largest of {value.name} is {largest:g}, which float16 rounds to 0"
        return None


class SortedBy:
    """Keys that tokens are sorted by, and all that the module that sorts computes of them.

    Each rounding makes more keys equal, and the order of equal keys is nobody's.

    1. A node of a module that sorts: kept.

        Given    /attn/qkv/Gemm -> /attn/sort/Div -> /attn/sort/rounds.0/TopK
        Result   kept:            /attn/sort/Div    /attn/sort/rounds.0/TopK
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.modules = sorting_modules(scope_of(node.name or "") for node in graph if node.op_type == "TopK")

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        return "tokens are sorted by it" if inside(scope_of(node.name or ""), self.modules) else None


class ChosenBy:
    """Scores and boxes that detections are chosen by, and all that the module that chooses computes of them.

    It takes them as the graph gives them to the caller, so that one follows from the other; and runtimes have no
    NonMaxSuppression of another type.

    1. A node of a module that has a NonMaxSuppression: kept.

        Given    /bbox_head/Sigmoid -> /bbox_head/suppress/TopK -> /bbox_head/suppress/NonMaxSuppression
        Result   kept:                 /bbox_head/suppress/TopK    /bbox_head/suppress/NonMaxSuppression
    """

    def __init__(self, graph: ir.Graph) -> None:
        choosing = (scope_of(node.name or "") for node in graph if node.op_type == "NonMaxSuppression")
        self.modules = tuple(dict.fromkeys(choosing))

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        return "detections are chosen by it" if inside(scope_of(node.name or ""), self.modules) else None


class OwnOperator:
    """The operator of form native, which computes in float32."""

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        return "its operator computes in float32" if node.domain == DOMAIN else None


class AskedFor:
    """A node of a module that the user keeps in float32, see `recipe.matches`."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = modules

    def because(self, node: ir.Node) -> str | None:
        """See the class."""
        return "its module was asked for in float32" if in_modules(node.name or "", self.modules) else None


def kept_in_float(graph: ir.Graph, modules: Sequence[str] = ()) -> dict[ir.Node, Kept]:
    """The nodes that stay in float32, each with the first reason that holds.

    Args:
        graph: with types inferred and every Constant an initializer.
        modules: patterns of PyTorch modules to keep.
    """
    reasons: tuple[Reason, ...] = (
        Preprocessing(graph),
        SumOfManyTerms(),
        WrittenOutSoftmax(),
        VanishingWeight(),
        SortedBy(graph),
        ChosenBy(graph),
        OwnOperator(),
        AskedFor(modules),
    )
    kept = {}
    for node in graph:
        found = [(reason, because) for reason in reasons if (because := reason.because(node))]  # each sees every node
        if found:
            reason, because = found[0]
            kept[node] = Kept(node.name or "", type(reason).__name__, because)
    return kept


def _activations(node: ir.Node) -> list[ir.Value]:
    return [value for value in _given(node.inputs) if not _is_weight(value)]


def _given(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    return [value for value in values if value is not None]


def _is_weight(value: ir.Value) -> bool:
    return value.is_initializer()


def _numbers(value: ir.Value) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    tensor = value.const_value
    return np.zeros(0, np.float32) if tensor is None else tensor.numpy()
