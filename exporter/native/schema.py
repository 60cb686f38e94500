"""What onnx knows of the operator, so that shapes are inferred behind it like behind any other."""

from __future__ import annotations

from functools import cache
from typing import Any

from . import DOMAIN, OPERATOR

INPUTS = ("qkv", "keys", "key_bias", "values", "value_bias")
ATTRIBUTES = ("heads", "kernel_size")
VERSION = 1


def used_in(proto: Any) -> bool:
    """Whether a graph has the operator."""
    return any(node.domain == DOMAIN for node in proto.graph.node)


@cache
def register() -> None:
    """Tell onnx of the operator, once a process."""
    from onnx import defs

    if defs.has(OPERATOR, DOMAIN):
        return
    schema = defs.OpSchema(
        OPERATOR,
        DOMAIN,
        VERSION,
        inputs=[defs.OpSchema.FormalParameter(name, "T") for name in INPUTS],
        outputs=[defs.OpSchema.FormalParameter("out", "T")],
        type_constraints=[("T", ["tensor(float)"], "float32")],
        attributes=[
            defs.OpSchema.Attribute(name, defs.OpSchema.AttrType.INT, required=True)
            for name in ("heads", "kernel_size")
        ],
    )
    schema.set_type_and_shape_inference_function(_infer)
    defs.register_schema(schema)


def _infer(context: Any) -> None:
    """The output has the input's type and shape, with a third of its channels."""
    found = context.get_input_type(0)
    if found is None:
        return
    if found.tensor_type.HasField("shape"):
        channels = found.tensor_type.shape.dim[-1]
        if channels.HasField("dim_value"):
            channels.dim_value //= 3
        else:
            channels.Clear()
    context.set_output_type(0, found)
