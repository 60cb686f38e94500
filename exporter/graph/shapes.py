"""Types and shapes of an edited model, by onnx's inference."""

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


def infer(model: ir.Model, *, strict: bool = False, data_prop: bool = False) -> None:
    """Infer the types and shapes of every value, in place; what is stated already is merged with it.

    onnx_ir takes the weights out meanwhile, so that none is copied, and puts the larger ones back behind the smaller;
    here they stand as they stood, for the same graph must be the same bytes.

    Args:
        strict: a contradiction is an error, which onnx_ir logs; the types then stay as they were.
        data_prop: follow the values of small integers too, such as sizes that are put together from a shape.
    """
    weights = tuple(model.graph.initializers.values())
    ShapeInferencePass(check_type=False, strict_mode=strict, data_prop=data_prop)(model)
    model.graph.initializers.clear()
    for value in weights:
        model.graph.initializers.add(value)


def known(model: ir.Model) -> bool:
    """Whether every result of a node has a shape, so that there is nothing to infer."""
    return all(value.shape is not None for node in model.graph for value in node.outputs if value.name)


def forget(model: ir.Model) -> None:
    """Clear the types and shapes of all that nodes give to one another, where an edit has made them untrue."""
    for value in (value for node in model.graph for value in node.outputs if not value.is_graph_output()):
        value.type = value.shape = None
