"""The rules that every target needs, asserted on the graph itself."""

import onnx

from slide_export.core.errors import ExportError

MAX_RANK = 5  # CoreML's limit (coremltools#1723)
IM2COL = frozenset({"Col2Im", "Gather", "GatherND", "GatherElements", "ScatterND", "ScatterElements", "Unfold"})
"""Im2Col has no operator of its own in ONNX: `F.unfold` becomes a Pad and Gather chains, `F.fold` a Col2Im or a scatter
(torch/onnx/_internal/torchscript_exporter/symbolic_opset11.py, symbolic_opset18.py). After folding, none of our models
needs one of these for anything else, so each is refused."""


def check(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph unchanged after judging it.

    Raises:
        ExportError: the graph is not valid ONNX, holds Im2Col in any guise, or a tensor above rank 5.
    """
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"expected a valid ONNX graph, the checker says: {error}") from error
    unfolds = [f"{node.op_type} ({node.name})" for node in proto.graph.node if node.op_type in IM2COL]
    if unfolds:
        raise ExportError(
            f"expected a graph without Im2Col, found {', '.join(unfolds[:4])}: a layer unfolds or indexes"
        )
    high = [(name, rank) for name, rank in ranks(proto).items() if rank > MAX_RANK]
    if high:
        name, rank = high[0]
        raise ExportError(
            f"expected no tensor above rank {MAX_RANK}, found {len(high)}, the first {name} of rank {rank}"
        )
    return proto


def ranks(proto: onnx.ModelProto) -> dict[str, int]:
    """Returns the rank of every value that shape inference reaches."""
    values = onnx.shape_inference.infer_shapes(proto).graph
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*values.value_info, *values.input, *values.output)
        if value.type.tensor_type.HasField("shape")
    }
