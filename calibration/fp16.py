"""OnnxGraph -> OnnxGraph in a 16-bit float: the precision stands in the graph as types and casts.

Weights and maths become float16, or bfloat16, for which all that follows holds alike; the graph's inputs and outputs
keep their types. A node stays in float32, with one cast where its neighbours differ, if fp16 could cost it the noise
floor or overflow: `fp16_reasons.py` has the reasons.

`onnxruntime.transformers.float16` (1.32) is not used: it rounds to float16 and back between two neighbours that are
both kept in float32 (106 times in Slide-Swin-T "taps"), appends its casts behind their users so that `onnx.checker`
refuses the graph, and clamps weights beyond float16 without a word.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import CheckerPass, LiftConstantsToInitializersPass

from slide_export.core.errors import LoweringError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import BF16, FP16, Precision
from slide_export.core.stored import BFLOAT16_MAX
from slide_export.graph.convert import constant, to_ir, to_proto
from slide_export.graph.dtypes import KEPT_FLOAT32
from slide_export.graph.shapes import forget, infer
from slide_export.graph.values import scope_of

from .fp16_reasons import AskedFor, Kept, kept_in_float

FULL = ir.DataType.FLOAT
HALVES = {FP16.name: ir.DataType.FLOAT16, BF16.name: ir.DataType.BFLOAT16}
FLOAT16_MAX = float(np.finfo(np.float16).max)  # 65504

_log = logging.getLogger(__name__)


def to_half(graph: OnnxGraph, keep: Sequence[str] = (), precision: Precision = FP16) -> OnnxGraph:
    """The graph in a 16-bit float, the same bytes for the same graph; inputs and outputs keep their types.

    A weight is rounded to the nearest float16, subnormal ones included, so its error is at most 2^-25 below 6e-5. A
    node stays in float32 where that would turn a whole tensor of weights to zero.

    Args:
        keep: PyTorch modules that stay in float32 with all that is in them; * and ? are wildcards.
        precision: fp16 or bf16.

    Raises:
        LoweringError: a weight is beyond the type, or an operator cannot be typed in it.
    """
    result = ToHalf(keep, precision)(to_ir(graph.proto))
    # Convolutions have bfloat16 from opset 22 on: TensorRT's parser takes it in any, the checker does not.
    try:
        CheckerPass(full_check=precision == FP16)(result.model.clone())  # it changes the order of the weights
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LoweringError(
            f"expected a graph that {precision.computed} can type, the checker says: {error}"
        ) from error
    return OnnxGraph(to_proto(result.model), graph.inputs, graph.outputs)


@dataclass
class HalfResult(ir.passes.PassResult):
    """What `ToHalf` leaves.

    Attributes:
        kept: the nodes that stay in float32, in the order of execution.
    """

    kept: tuple[Kept, ...] = ()


class ToHalf(ir.passes.InPlacePass):
    """Type every node in float16 or float32, with a cast before the first user that differs.

    1. A node that `kept_in_float` finds: float32. Its activations from float16 are cast; its weights stay.
    2. Any other node: float16. Its activations from float32 are cast; a weight is rounded, one that has users of both
       types is stored in both.
    3. A float16 result that is an output of the graph: the output keeps its name and type, a cast writes it, and the
       users in float32 take that.
    4. A value that is not float32, such as a shape or a mask: as it is.

        Given    x -> MatMul(w) -> h -> Softmax -> p -> MatMul(v) -> y                    all float32
        Result   x -> Cast -> x_half -> MatMul(w_half) -> h -> Cast -> h_full -> Softmax -> p
                 p -> Cast -> p_half -> MatMul(v_half) -> y_half -> Cast -> y             x, h_full, p, y: float32
    """

    def __init__(self, keep: Sequence[str] = (), precision: Precision = FP16) -> None:
        self.keep = keep
        self.precision = precision

    def call(self, model: ir.Model) -> HalfResult:
        """Rewrite in place.

        Raises:
            LoweringError: a weight is beyond float16.
        """
        infer(model)
        LiftConstantsToInitializersPass(size_limit=0)(model)
        kept = kept_in_float(model.graph, self.keep)
        for node, why in kept.items():
            _log.debug("%s stays in float32: %s", why.node or node.op_type, why.because)
        half = HALVES[self.precision.name]
        writer = _Writer(model.graph)
        for node in tuple(model.graph):  # casts are put between them meanwhile
            writer.retype(node, FULL if node in kept else half)
        writer.store_weights()
        forget(model)
        model.metadata_props["precision"] = self.precision.name
        if asked := sorted({scope_of(one.node) for one in kept.values() if one.reason == AskedFor.__name__}):
            model.metadata_props[KEPT_FLOAT32] = " ".join(asked)
        infer(model)
        return HalfResult(model, modified=True, kept=tuple(kept.values()))


class _Writer:
    """The graph as it is being rewritten: what each float value is called in the other type."""

    def __init__(self, graph: ir.Graph) -> None:
        results = [value for node in graph for value in node.outputs]
        self.graph = graph
        self.floats = {value for value in (*graph.inputs, *results) if value.dtype == FULL}
        self.types = dict.fromkeys(self.floats, FULL)  # in the new graph
        self.taken = {value.name for value in (*graph.initializers.values(), *graph.inputs, *results)}
        self.forms: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def retype(self, node: ir.Node, kind: ir.DataType) -> None:
        """Give a node its type, and casts before and behind it where it needs them."""
        for index, value in enumerate(node.inputs):
            if value is not None:
                node.replace_input_with(index, self._fed(value, kind, node))
        for value in node.outputs:
            if value in self.floats:  # Case 4: others stay
                self.types[value] = kind
                if kind != FULL and value.is_graph_output():
                    self._write_output(value)

    def store_weights(self) -> None:
        """Keep the weights that are used, in the order of their first use: the same graph gives the same bytes."""
        used = dict.fromkeys(value for node in self.graph for value in node.inputs if value is not None)
        weights = [value for value in used if value.const_value is not None and not value.is_graph_input()]
        self.graph.initializers.clear()
        for value in weights:
            self.graph.initializers.add(value)

    def _fed(self, value: ir.Value, kind: ir.DataType, user: ir.Node) -> ir.Value:
        """A value in a type, cast or rounded before its first user in that type."""
        if value.is_initializer():
            differs = value.dtype == FULL and kind != FULL
        else:
            differs = value in self.floats and self.types[value] != kind
        if not differs:  # Cases 1, 2 and 4
            return value
        if (value, kind) not in self.forms:
            name = self._new(value, "full" if kind == FULL else "half")
            if value.is_initializer():
                self.forms[value, kind] = _rounded(value, name, kind)
            else:
                cast = _cast(value, name, kind)
                self.graph.insert_before(user, cast)
                self.forms[value, kind] = cast.outputs[0]
        return self.forms[value, kind]

    def _write_output(self, value: ir.Value) -> None:
        """Case 3: the node's result gets a name of its own, and a cast writes the output of the graph."""
        node, name = value.producer(), value.name or ""
        value.name = self._new(value, "half")
        cast = _cast(value, name, FULL)
        written = cast.outputs[0]
        written.type, written.shape = value.type, value.shape
        self.graph.outputs[self.graph.outputs.index(value)] = written
        if node is not None:
            self.graph.insert_after(node, cast)
        self.forms[value, FULL] = written

    def _new(self, value: ir.Value, suffix: str) -> str:
        fresh = f"{value.name}_{suffix}"
        while fresh in self.taken:
            fresh += "_"
        return fresh


def _cast(value: ir.Value, name: str, kind: ir.DataType) -> ir.Node:
    cast = ir.node("Cast", [value], {"to": int(kind)}, name=f"{name}/Cast")
    cast.outputs[0].name = name
    return cast


def _rounded(value: ir.Value, name: str, kind: ir.DataType) -> ir.Value:
    """A weight in a 16-bit float, under another name."""
    numbers: NDArray[np.float32] = value.const_value.numpy() if value.const_value else np.zeros(0, np.float32)
    largest = FLOAT16_MAX if kind == ir.DataType.FLOAT16 else BFLOAT16_MAX
    if not bool((np.abs(numbers) <= largest).all()):  # a NaN is not
        raise LoweringError(
            f"expected weights within ±{largest:.0f}, the range of {kind.numpy()}; found {np.abs(numbers).max():g} in "
            f"{value.name}: export with precision fp32"
        )
    return constant(ir.tensor(numbers.astype(kind.numpy()), name=name))
