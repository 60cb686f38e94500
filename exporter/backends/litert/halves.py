"""float32 file -> weights stored in float16, computed in float32: each is expanded by an operator at load.

Given    FULLY_CONNECTED(x, weight float32 [384, 128])
Result   DEQUANTIZE(weight_half float16 [384, 128]) -> weight float32; FULLY_CONNECTED(x, weight)

XNNPACK takes such an operator of a constant into its packed weights. The quantizer of LiteRT knows weights of layers
alone; position biases and other tables are as large in these models, so every constant of two axes and more is halved,
as the noise floor of w16 has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import flatbuffer

HALF = "half"


def halved(content: bytes) -> bytes:
    """A file with its matrices, kernels and tables in float16; vectors and scalars stay."""
    from ai_edge_litert import schema_py_generated as schema

    model = flatbuffer.parsed(content)
    (graph,) = model.subgraphs
    code = _dequantize(model, schema)
    operators = []
    for index in range(len(graph.tensors)):
        if _is_large(graph.tensors[index], model, schema):
            operators.append(_expanded(index, graph, model, code, schema))
    graph.operators = [*operators, *graph.operators]
    used = {tensor.buffer for tensor in graph.tensors}
    for place, buffer in enumerate(model.buffers):
        if place not in used:
            buffer.data = None  # the float32 values; places stay, since tensors count them
    return flatbuffer.written(model)


def is_matrix(shape: Sequence[int]) -> bool:
    """Whether a constant of this shape is halved: a matrix, a kernel or a table, and no vector or scalar."""
    return len(shape) > 1 and any(size > 1 for size in shape)


def _is_large(tensor: Any, model: Any, schema: Any) -> bool:
    if tensor.type != schema.TensorType.FLOAT32 or model.buffers[tensor.buffer].data is None:
        return False
    return is_matrix([int(size) for size in tensor.shape])


def _dequantize(model: Any, schema: Any) -> int:
    """Place of DEQUANTIZE among the file's operator codes."""
    number = schema.BuiltinOperator.DEQUANTIZE
    for place, code in enumerate(model.operatorCodes):
        if code.builtinCode == number:
            return place
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = number
    added.version = 3  # Source: LiteRT's op_version.cc: 3 takes float16
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _expanded(index: int, graph: Any, model: Any, code: int, schema: Any) -> Any:
    """Store a tensor in float16 beside itself; the operator that computes it from there."""
    tensor = graph.tensors[index]
    values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.frombuffer(values, np.float32).astype(np.float16).tobytes(), np.uint8)
    model.buffers.append(buffer)
    stored = schema.TensorT()
    stored.name, stored.shape = tensor.name + f"_{HALF}".encode(), tensor.shape
    stored.type, stored.buffer = schema.TensorType.FLOAT16, len(model.buffers) - 1
    graph.tensors.append(stored)
    tensor.buffer = 0  # the empty one: it is computed from now on
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [len(graph.tensors) - 1], [index]
    return operator
