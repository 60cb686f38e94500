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
JOINED = ";;"
"""Between the modules of what the converter made of several: LayerNorm and the linear layer that took it in."""
NAMES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float64"
}  # fmt: skip
"""Element types that NumPy has too, by their number in the schema; others are called `type 17`."""
PRODUCTS = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}
"""Convolutions and matrix products, each with the place of its second operand."""

LAYERS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})
"""Operators that may apply an activation to their result."""
OPTIONS = {
    "GELU": "GeluOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
}
"""Tables of the options that are read, by operator."""


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
        approximate: of a GELU, whether it is the tanh approximation.
        activated: of a layer, whether it applies an activation, ReLU say, to its result.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    approximate: bool = False
    activated: bool = False


class Graph:
    """The only graph of a `.tflite`, read."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        if content[4:8] != IDENTIFIER:
            raise ValueError(f"its identifier is {content[4:8]!r}")
        model = schema.Model.GetRootAs(content, 0)
        if model.SubgraphsLength() != 1:
            raise ValueError(f"it has {model.SubgraphsLength()} graphs")
        graph = model.Subgraphs(0)
        codes = [_code(model.OperatorCodes(place)) for place in range(model.OperatorCodesLength())]
        self.tensors = tuple(_tensor(graph.Tensors(place), model) for place in range(graph.TensorsLength()))
        self.operations = tuple(_operation(graph.Operators(place), codes) for place in range(graph.OperatorsLength()))
        self.inputs, self.outputs = _numbers(graph.InputsAsNumpy()), _numbers(graph.OutputsAsNumpy())

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
        return Graph(content)
    except Exception as error:  # the generated reader checks no offset: struct.error, IndexError and others
        raise BundleError(
            f"expected a .tflite file of one graph, {name} is none: {type(error).__name__}: {foreign(error, 200)}"
        ) from error


def parsed(content: bytes) -> Any:
    """A file as the schema's own objects, to be changed and written."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != IDENTIFIER:
        raise ValueError(f"its identifier is {content[4:8]!r}")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
    return model


def _tensor(tensor: Any, model: Any) -> Tensor:
    kind, shape, name = (
        NAMES.get(tensor.Type(), f"type {tensor.Type()}"),
        _numbers(tensor.ShapeAsNumpy()),
        tensor.Name(),
    )
    data, stored = _data(model.Buffers(tensor.Buffer())), None
    if data and kind in NAMES.values():
        stored = np.frombuffer(data, kind)
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return Tensor(name.decode(), kind, shape, stored)
    scale, zero = quantization.ScaleAsNumpy().astype(np.float64), quantization.ZeroPointAsNumpy()
    zeros = zero.astype(np.float64) if quantization.ZeroPointLength() else np.zeros_like(scale)
    return Tensor(name.decode(), kind, shape, stored, scale, zeros, quantization.QuantizedDimension())


def _data(buffer: Any) -> bytes:
    """What a buffer holds: inside the flatbuffer or, as quantizers write it, behind it at an offset."""
    if (start := buffer.Offset()) > 1:  # Source: LiteRT's schema: 0 and 1 say that there is none
        return bytes(memoryview(buffer._tab.Bytes)[start : start + buffer.Size()])
    inside = buffer.DataAsNumpy()
    return inside.tobytes() if isinstance(inside, np.ndarray) else b""


def _operation(operator: Any, codes: Sequence[str]) -> Operation:
    from ai_edge_litert import schema_py_generated as schema

    name, taken = codes[operator.OpcodeIndex()], _numbers(operator.InputsAsNumpy())
    # Of an operator without options every option is the schema's default: no approximation, no activation.
    told = _options(operator, OPTIONS[name]) if name in OPTIONS else None
    approximate = name == "GELU" and told is not None and bool(told.Approximate())
    none = schema.ActivationFunctionType.NONE
    activated = name in LAYERS and told is not None and told.FusedActivationFunction() != none
    return Operation(name, taken, _numbers(operator.OutputsAsNumpy()), approximate, activated)


def _options(operator: Any, table_name: str) -> Any | None:
    """An operator's own options, by their table in the schema; None where it has none."""
    from ai_edge_litert import schema_py_generated as schema

    table, options = operator.BuiltinOptions(), getattr(schema, table_name)()
    if table is None:
        return None
    options.Init(table.Bytes, table.Pos)
    return options


def _code(code: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # Source: LiteRT's schema_utils.cc, GetBuiltinCode
    name = next(name for name, value in vars(schema.BuiltinOperator).items() if value == number)
    if name != "CUSTOM":
        return str(name)
    return f"custom {foreign((code.CustomCode() or b'').decode(), 60)}"


def _numbers(values: Any) -> tuple[int, ...]:
    """Numbers of a vector; the reader gives 0 for one that is not there."""
    return tuple(map(int, values)) if isinstance(values, np.ndarray) else ()


def scope_of(name: str) -> str:
    """`layers.0.blocks.1.attn.q` of `layers.0.blocks.1.attn.q/3`; of what was made of several, the first."""
    return scopes_of(name)[0]


def scopes_of(name: str) -> tuple[str, ...]:
    """The modules that a tensor was made of: `a.q` and `a.k` of `a.q;;a.k/3`."""
    return tuple(name.rpartition("/")[0].split(JOINED))


def finished(content: bytes, names: tuple[Sequence[str], Sequence[str]] | None = None) -> bytes:
    """A file with names for people and every buffer aligned: the same bytes for the same graph.

    Args:
        names: of inputs and outputs, where tensors are still called as `convert.py` calls them: "SCOPE;NUMBER".
    """
    model = parsed(content)
    (graph,) = model.subgraphs
    if names is not None:
        _name(model, graph, names)
    _name_ends(model, graph)
    return written(model)


def giving(content: bytes, names: Sequence[str]) -> bytes:
    """A file whose graph gives these of its values beside its outputs."""
    model = parsed(content)
    (graph,) = model.subgraphs
    numbers = {tensor.name.decode(): number for number, tensor in enumerate(graph.tensors)}
    graph.outputs = list(dict.fromkeys((*map(int, graph.outputs), *(numbers[name] for name in names))))
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
        scope, found, _ = tensor.name.decode().rpartition(";")  # "a.q;;a.k;4"
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


def _name_ends(model: Any, graph: Any) -> None:
    """Call inputs and outputs as the signature does; a quantizer leaves that name to the tensor before the last."""
    (signature,) = model.signatureDefs
    ends = {int(entry.tensorIndex): entry.name for entry in (*signature.inputs, *signature.outputs)}
    for number, tensor in enumerate(graph.tensors):
        if number in ends:
            tensor.name = ends[number]
        elif tensor.name in ends.values():
            tensor.name += b"/inside"


def _aligned(buffer: Any) -> Any:
    """`Pack` of a buffer that begins at a multiple of `ALIGNMENT`; the generated one aligns to single bytes."""
    from ai_edge_litert import schema_py_generated as schema

    def pack(builder: Any) -> Any:
        """Write the data backwards from the builder's head, then the table that refers to it."""
        data = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        if data:
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if data:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)

    return pack
