"""Reading and writing `.tflite`, a flatbuffer of tensors, operators and buffers.

Tensors are called after the PyTorch module that computes them, `layers.0.blocks.1.attn.qkv/3`; the part behind the
stroke is a number. What the converter made for itself has no module: `constant/12`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of a buffer in the file (Source: LiteRT's schema, `Buffer.data`, force_align: 16); kernels map weights in place."""
SIGNATURE = "serving_default"
WITHOUT_MODULE = "constant"
NAMES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float64"
}  # fmt: skip
"""Element types that NumPy has too, by their number in the schema; others are called `type 17`."""
PRODUCTS = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}
"""Convolutions and matrix products, each with the place of its second operand."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        type: its element type.
        data: what is stored for it, flat; None where it is computed.
        scale, zero: of a quantized one, of the whole tensor or one a slice along `axis`; None of any other.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    data: Array | None
    scale: Array | None = None
    zero: Array | None = None
    axis: int = 0

    @property
    def scope(self) -> str | None:
        """Dotted path of the PyTorch module that it is called after, None where it is after none."""
        found = scope_of(self.name)
        return found if found != WITHOUT_MODULE else None

    @property
    def values(self) -> Array:
        """What is stored, in the tensor's shape."""
        assert self.data is not None
        return self.data.reshape(self.shape)


@dataclass(frozen=True)
class Operation:
    """An operator of a graph, by the numbers of its tensors.

    Attributes:
        name: of a builtin one "FULLY_CONNECTED"; of another one "custom FlexErf".
        options: the object of its builtin options, None where it has none.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


class Graph:
    """The only graph of a `.tflite`, read."""

    def __init__(self, model: Any) -> None:
        (graph,) = model.subgraphs
        self._model = model
        self.tensors = tuple(_tensor(one, model) for one in graph.tensors)
        codes = [_code(one) for one in model.operatorCodes]
        self.operations = tuple(
            Operation(codes[one.opcodeIndex], _numbers(one.inputs), _numbers(one.outputs), one.builtinOptions)
            for one in graph.operators or ()
        )
        self.inputs, self.outputs = _numbers(graph.inputs), _numbers(graph.outputs)

    @cached_property
    def makers(self) -> Mapping[int, Operation]:
        """The operation that computes each tensor."""
        return {index: one for one in self.operations for index in one.outputs}

    def products(self) -> Iterator[tuple[Operation, Tensor, Tensor]]:
        """Each convolution and matrix product with its first operand and its weights, or second operand."""
        for one in self.operations:
            if one.name in PRODUCTS:
                yield one, self.tensors[one.inputs[0]], self.tensors[one.inputs[PRODUCTS[one.name]]]

    def expanded_from(self, tensor: int) -> Tensor | None:
        """The stored tensor that a DEQUANTIZE makes this one of, None where none does."""
        maker = self.makers.get(tensor)
        if maker is None or maker.name != "DEQUANTIZE":
            return None
        source = self.tensors[maker.inputs[0]]
        return None if source.data is None else source


def read(path: Path) -> Graph:
    """The graph of a file.

    Raises:
        BundleError: it cannot be read, or is no `.tflite` of one graph.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"expected a .tflite file at {path}, the system says: {error.strerror}") from error
    return parse(content, path.name)


def parse(content: bytes, name: str = "the artifact") -> Graph:
    """The graph of a file's bytes; raises as `read` does."""
    try:
        return Graph(parsed(content))
    except Exception as error:  # the generated reader checks no offset: struct.error, IndexError and others
        raise BundleError(
            f"expected a .tflite file of one graph, {name} is none: {type(error).__name__}: {foreign(error, 200)}"
        ) from error


def parsed(content: bytes) -> Any:
    """A file as the schema's own objects, to be changed and written."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != IDENTIFIER:
        raise ValueError(f"its identifier is {content[4:8]!r}")
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _tensor(tensor: Any, model: Any) -> Tensor:
    kind, data = NAMES.get(tensor.type, f"type {tensor.type}"), model.buffers[tensor.buffer].data
    shape = _numbers(tensor.shape)
    stored = None
    if data is not None and kind in NAMES.values():
        stored = np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind)
    name, quantization = tensor.name.decode(), tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return Tensor(name, kind, shape, stored)
    scale, zero = np.asarray(quantization.scale, np.float64), np.asarray(quantization.zeroPoint, np.float64)
    return Tensor(name, kind, shape, stored, scale, zero, quantization.quantizedDimension)


def _code(code: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # Source: LiteRT's schema_utils.cc, GetBuiltinCode
    if names[number] != "CUSTOM":
        return names[number]
    return f"custom {foreign(code.customCode.decode() if code.customCode else '', 60)}"


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)


def scope_of(name: str) -> str:
    """`layers.0.blocks.1.attn.qkv` of `layers.0.blocks.1.attn.qkv/3`."""
    return name.rpartition("/")[0]


def finished(content: bytes, names: tuple[Sequence[str], Sequence[str]] | None = None) -> bytes:
    """A file with names for people and every buffer aligned: the same bytes for the same graph.

    Args:
        names: of inputs and outputs, where tensors are still called as `convert.py` calls them: "SCOPE;NUMBER".
    """
    model = parsed(content)
    (graph,) = model.subgraphs
    if names is not None:
        _name(model, graph, names)
    return written(model)


def written(model: Any) -> bytes:
    """The bytes of a file, every buffer aligned."""
    import flatbuffers

    for buffer in model.buffers:
        buffer.Pack = _aligned(buffer)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _name(model: Any, graph: Any, names: tuple[Sequence[str], Sequence[str]]) -> None:
    for number, tensor in enumerate(graph.tensors):
        scope, found, _ = tensor.name.decode().rpartition(";")
        # One number a tensor in the whole file: the converter's own begin anew with each name.
        tensor.name = f"{scope if found else WITHOUT_MODULE}/{number}".encode()
    (signature,) = model.signatureDefs
    signature.signatureKey = SIGNATURE.encode()
    for maps, ends, called in (
        (signature.inputs, graph.inputs, names[0]),
        (signature.outputs, graph.outputs, names[1]),
    ):
        order = {int(index): name for index, name in zip(ends, called, strict=True)}
        for entry in maps:
            entry.name = order[int(entry.tensorIndex)].encode()
            graph.tensors[entry.tensorIndex].name = order[int(entry.tensorIndex)].encode()


def _aligned(buffer: Any) -> Any:
    """`Pack` of a buffer that begins at a multiple of `ALIGNMENT`; the generated one aligns to single bytes."""
    from ai_edge_litert import schema_py_generated as schema

    def pack(builder: Any) -> Any:
        """Write the data backwards from the builder's head, then the table that refers to it."""
        if buffer.data is not None:
            data = np.asarray(buffer.data, np.uint8).tobytes()
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if buffer.data is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)

    return pack
