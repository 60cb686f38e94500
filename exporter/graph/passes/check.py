"""The rules that every target needs, asserted on the graph itself."""

from collections.abc import Sequence
from typing import Literal

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass

from slide_export.core.errors import ExportError
from slide_export.core.graph import MAX_RANK
from slide_export.graph.shapes import infer, known

IM2COL = frozenset({"Col2Im", "Gather", "GatherND", "GatherElements", "ScatterND", "ScatterElements", "Unfold"})
"""Im2Col has no operator of its own in ONNX: `F.unfold` becomes a Pad and Gather chains, `F.fold` a Col2Im or a scatter
(torch/onnx/_internal/torchscript_exporter/symbolic_opset11.py, symbolic_opset18.py). After folding, none of our models
needs one of these for anything else but to follow an order that it sorted itself, so each other one is refused."""
VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Expand", "Tile", "Transpose", "Slice", "Split", "Cast"})
"""What repeats or moves the indices of a gather, and makes none."""
PARTS = frozenset({"Div", "Mul", "Sub", "Mod", "Concat"})
"""What takes an order over pairs apart: place / count and place - count * (place / count)."""
BY_PLACE = frozenset({"GatherElements", "GatherND", "ScatterND"})
"""What takes elements by such an order, or puts them back; its indices come second."""


class Check(ir.passes.PassBase):
    """Judge the graph and leave it as it is.

    1. It is not valid ONNX, or its types and shapes contradict each other: refused in the checker's words.
    2. It holds Im2Col in any guise: refused, with the first nodes that do. A gather by an order that the graph sorts
       itself is none.
    3. A tensor is above rank 5: refused, with the first of them.

        Given    x [2, 3] -> Gather(index) -> y
        Result   ExportError: expected a graph without Im2Col, found Gather (/block/Gather): a layer unfolds or indexes
    """

    @property
    def in_place(self) -> Literal[True]:
        """The model that comes out is the one that went in."""
        return True

    @property
    def changes_input(self) -> Literal[False]:
        """Nothing is changed."""
        return False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Apply the rules, in the order of their numbers.

        Raises:
            ExportError: the graph breaks one.
        """
        try:
            CheckerPass(full_check=True)(model.clone())  # it changes the order of the weights
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:  # Case 1
            raise ExportError(f"expected a valid ONNX graph, the checker says: {error}") from error
        arranged = by_order(model.graph)
        unfolds = [
            f"{node.op_type} ({node.name})" for node in model.graph if node.op_type in IM2COL and node not in arranged
        ]
        if unfolds:  # Case 2
            raise ExportError(
                f"expected a graph without Im2Col, found {', '.join(unfolds[:4])}: a layer unfolds or indexes"
            )
        high = [(name, rank) for name, rank in ranks(model).items() if rank > MAX_RANK]
        if high:  # Case 3
            name, rank = high[0]
            raise ExportError(
                f"expected no tensor above rank {MAX_RANK}, found {len(high)}, the first {name} of rank {rank}"
            )
        return ir.passes.PassResult(model, modified=False)


def by_order(graph: ir.Graph) -> set[ir.Node]:
    """Gathers of whole elements by an order that the graph finds itself, which no Im2Col has.

    1. An order is the indices of a TopK, or what a NonMaxSuppression keeps.
    2. Moved, repeated, or taken apart into numbers of rows and columns, it stays one.
    3. What takes elements by it, or puts them back into their places, is arranged; an order of an order is one.

        Given    keys -> TopK -> indices -> Unsqueeze -> Expand -> GatherElements(x)
        Result   the GatherElements
    """
    orders = {node.outputs[1] for node in graph if node.op_type == "TopK"}  # Case 1
    orders |= {node.outputs[0] for node in graph if node.op_type == "NonMaxSuppression"}
    arranged = set()
    for node in graph:
        fed = [value for value in node.inputs if value is not None]
        if node.op_type in BY_PLACE and fed[1] in orders:  # Case 3
            arranged.add(node)
            if fed[0] in orders:
                orders.update(node.outputs)
        elif _moves(node, fed, orders):  # Case 2
            orders.update(node.outputs)
    return arranged


def _moves(node: ir.Node, fed: Sequence[ir.Value], orders: set[ir.Value]) -> bool:
    """Whether a node makes of an order one that tells the same."""
    if node.op_type in VIEWS:
        return bool(fed) and fed[0] in orders
    return node.op_type in PARTS and not orders.isdisjoint(fed) and all(v in orders or _is_constant(v) for v in fed)


def _is_constant(value: ir.Value) -> bool:
    """Whether a value is the same for every input."""
    return value.is_initializer() or (value.producer() is not None and value.producer().op_type == "Constant")


def ranks(model: ir.Model) -> dict[str, int]:
    """The rank of every value that shape inference reaches; of no weight."""
    if not known(model):
        model = model.clone()
        infer(model)
    values = [*(value for node in model.graph for value in node.outputs), *model.graph.inputs]
    return {value.name: value.shape.rank() for value in values if value.name and value.shape is not None}
