"""Files of a few operators, written down by LiteRT's own schema."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from slide_export.backends.litert import flatbuffer

TYPES = {"float32": 0, "float16": 1, "int32": 2, "int8": 9}


@dataclass
class File:
    """A graph that grows by tensors and operators, whose numbers the methods give."""

    tensors: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    codes: list[str] = field(default_factory=list)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: str = "float32",
        data: Any = None,
        scale: Any = None,
        axis: int = 0,
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), TYPES[kind], 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, kind).tobytes(), np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = list(scale), [0] * len(scale)
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, kind: str, inputs: list[int], output: int) -> int:
        if kind not in self.codes:
            self.codes.append(kind)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self.codes.index(kind), inputs, [output]
        if kind == "CONV_2D":  # LiteRT asks for its strides
            made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT()
            made.builtinOptions.strideH = made.builtinOptions.strideW = 1
            made.builtinOptions.dilationHFactor = made.builtinOptions.dilationWFactor = 1
        self.operators.append(made)
        return output

    def written(self, inputs: list[int], outputs: list[int]) -> bytes:
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.buffers, model.subgraphs = 3, self.buffers, [graph]
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, inputs, outputs
        model.operatorCodes = []
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
            model.operatorCodes.append(code)
        return flatbuffer.written(model)


def layer(folder: Path, kind: str = "float32", first: str = "float32", *, expanded: bool = False) -> Path:
    """y [1, 2] = FULLY_CONNECTED(x [1, 3], head [2, 3]); the weights perhaps expanded from what is stored."""
    file = File()
    x = file.tensor("x/0", (1, 3), first)
    scale = [0.5, 2.0] if kind == "int8" else None
    weight = file.tensor("head/1", (2, 3), kind, [[1, 2, 3], [4, 5, 6]], scale)
    if expanded:
        weight = file.operator("DEQUANTIZE", [weight], file.tensor("head/2", (2, 3)))
    y = file.operator("FULLY_CONNECTED", [x, weight], file.tensor("head/3", (1, 2)))
    path = folder / "model.tflite"
    path.write_bytes(file.written([x], [y]))
    return path
