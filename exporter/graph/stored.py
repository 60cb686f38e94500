"""The constants of an ONNX graph as a runtime expands them: float weights as they are, 8-bit ones times their scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.stored import ATTRIBUTE, BFLOAT16, StoredConstant, exact, rounded_float, stepped

from .values import QUANTIZING, scope_of

if TYPE_CHECKING:
    import onnx

TRANSPOSED = "_Transposed_quantized"
NO_CONSTANT = frozenset({"Cast", "Constant", *QUANTIZING})
"""Operators whose attributes are those of a precision."""


def tensors(proto: onnx.ModelProto) -> Iterator[StoredConstant]:
    """Every weight, table, constant and attribute of a graph.

    1. The 8-bit data of a DequantizeLinear: expanded with its scale and zero point, which are not given again.
    2. 8-bit data of a MatMulInteger, or of a Cast: expanded likewise, with the scale that is multiplied with later.
    3. Scales and zero points of activations: left out, the proof by images judges ranges.
    4. Any other initializer or Constant: as it is.
    5. A numeric attribute of a named node, such as an epsilon, an axis or a group: under `NODE:TYPE.ATTRIBUTE`.
    """
    constants = _constants(proto)
    users = {name: scope_of(node.name) for node in reversed(proto.graph.node) for name in node.input}
    spent: set[str] = set()
    for node in proto.graph.node:
        if node.op_type in QUANTIZING:
            spent.update(node.input[1:])  # Case 3
            if node.op_type == "DequantizeLinear" and node.input[0] in constants:
                spent.add(node.input[0])
                yield _expanded(node, constants, users.get(node.output[0], ""))  # Case 1
    for data, scale, zero, turned in _scaled_later(proto, constants):
        spent.update((data, scale, zero))
        integers, steps = constants[data], np.broadcast_to(constants[scale].astype(np.float64), constants[data].shape)
        zeros = np.broadcast_to(constants[zero].astype(np.float64) if zero else 0.0, integers.shape)
        if turned:
            integers, steps, zeros = integers.T, steps.T, zeros.T
        yield stepped(data, str(integers.dtype), integers, steps, zeros, users.get(data, ""))  # Case 2
    for name, values in constants.items():
        if name not in spent:
            yield _plain(name, values, users.get(name, ""))  # Case 4
    for node in proto.graph.node:
        if node.name and node.op_type not in NO_CONSTANT:
            yield from _attributes(node)  # Case 5


def _constants(proto: onnx.ModelProto) -> dict[str, Any]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _scaled_later(proto: onnx.ModelProto, constants: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Names of data, scale and zero point, "" where it is 0, of each constant that is scaled by a Mul.

    The last tells whether the data are those of the float graph transposed, as ONNX Runtime's quantizer makes a MatMul
    of a Gemm, and names them so.

    Given    MatMulInteger(x, w, _, zero) -> Cast -> Mul(_, s)    Mul(x_scale, w_scale) -> s
    Result   w, w_scale, zero, False

    Given    Mul(Cast(w), w_scale)
    Result   w, w_scale, "", False
    """
    makers = {node.output[0]: node for node in proto.graph.node}
    readers = {name: node for node in proto.graph.node for name in node.input}
    for node in proto.graph.node:
        if node.op_type == "Cast" and node.input[0] in constants and constants[node.input[0]].dtype == np.int8:
            yield node.input[0], next(name for name in readers[node.output[0]].input if name in constants), "", False
        if node.op_type == "MatMulInteger" and node.input[1] in constants:
            scaled = readers[readers[node.output[0]].output[0]]
            scales = next(makers[name] for name in scaled.input if name in makers and makers[name].op_type == "Mul")
            yield (
                node.input[1],
                next(name for name in scales.input if name in constants),
                node.input[3],
                node.input[1].endswith(TRANSPOSED),
            )


def _expanded(node: onnx.NodeProto, constants: Mapping[str, Any], module: str) -> StoredConstant:
    data, scale = constants[node.input[0]], constants[node.input[1]].astype(np.float64)
    zero = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 and node.input[2] else np.zeros(())
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    scale, zero = (_along(values, data.shape, axis) for values in (scale, zero))
    return stepped(node.input[0], str(data.dtype), data, scale, zero, module)


def _along(values: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Scales or zero points in a shape that broadcasts to the data's.

    1. One number, or one for each position of an axis: along that axis.
    2. One for each block of an axis (opset 21): repeated over the block.
    3. As many axes as the data but one, over which NNCF has reduced (3-D weights): 1 along that.

        Given    scale [24, 6], data [24, 16, 6]
        Result   scale [24, 1, 6]
    """
    if values.size == 1 or values.ndim == 1:  # Case 1
        sides = [-1 if index == axis % len(shape) else 1 for index in range(len(shape))]
        return values.reshape(()) if values.size == 1 else values.reshape(sides)
    if values.ndim == len(shape) - 1:  # Case 3
        reduced = next(index for index in range(len(shape)) if shape[:index] + shape[index + 1 :] == values.shape)
        return np.expand_dims(values, reduced)
    for index, (side, blocks) in enumerate(zip(shape, values.shape, strict=True)):  # Case 2
        values = values.repeat(-(-side // blocks), index)
    return values[tuple(map(slice, shape))]


def _plain(name: str, values: Any, module: str) -> StoredConstant:
    if str(values.dtype) == BFLOAT16:  # of ml_dtypes, which NumPy takes for no float
        return rounded_float(name, BFLOAT16, values.astype(np.float32), module)
    if values.dtype.kind == "f":
        return rounded_float(name, str(values.dtype), values, module)
    return exact(name, values, module)


def _attributes(node: onnx.NodeProto) -> Iterator[StoredConstant]:
    import onnx

    kinds = onnx.AttributeProto
    for attribute in node.attribute:
        if attribute.type in (kinds.FLOAT, kinds.INT, kinds.FLOATS, kinds.INTS):
            values = np.asarray(onnx.helper.get_attribute_value(attribute), np.float64)
            yield exact(f"{node.name}:{node.op_type}.{attribute.name}", values, scope_of(node.name), ATTRIBUTE)
