"""A saved program, read: the parts that XNNPACK runs, the operators between them, and every constant of both.

A `.pte` holds a plan: values, operators called on them, and calls of delegates. Each of XNNPACK's delegates is
a flatbuffer of its own with nodes and values; constants stand once in the file, under the hash of their bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import BundleError

from .vendor import quiet

Json: TypeAlias = "Mapping[str, Any]"

KINDS = {
    "xnn_datatype_fp32": "float32",
    "xnn_datatype_fp16": "float16",
    "xnn_datatype_qint8": "int8",
    "xnn_datatype_quint8": "uint8",
    "xnn_datatype_qcint8": "int8",
    "xnn_datatype_qdint8": "int8",
    "xnn_datatype_qpint8": "int8",
    "xnn_datatype_qint32": "int32",
    "xnn_datatype_qcint32": "int32",
    "xnn_datatype_int32": "int32",
}
"""Element types of XNNPACK's values; 4 bits and bfloat16 are nothing that `lower` writes."""
SCALARS = {"BYTE": "uint8", "CHAR": "int8", "INT": "int32", "LONG": "int64", "HALF": "float16", "FLOAT": "float32",
           "DOUBLE": "float64", "BOOL": "bool"}  # fmt: skip
"""Element types of a plan's tensors."""
HEAVY = frozenset({"XNNConv2d", "XNNDepthwiseConv2d", "XNNConvTranspose2d", "XNNFullyConnected"})
PRODUCTS = HEAVY | {"XNNBatchMatrixMultiply"}
ENDLESS = re.compile(rb"(?<=[\s:\[,])([-+]?)inf(?=[\s,\]}])")
"""An endless number as the reader writes it, which JSON has not: the bounds of an operation without any."""
MAGIC = b"XH00"  # of the header before a part's flatbuffer
LAYER_NORM = "aten::native_layer_norm"
SIZES = ("executorch_prim::", "aten::sym_")  # sizes and jumps, no kernels


@dataclass(frozen=True)
class Constant:
    """A tensor that a program stores.

    Attributes:
        name: hash of its bytes.
        kind: element type.
        scale, zero: of integers that stand for floats, broadcast to the values; None of other tensors.
    """

    name: str
    kind: str
    values: Array
    scale: Array | None = None
    zero: int = 0


@dataclass(frozen=True)
class Part:
    """What XNNPACK runs in one piece.

    Attributes:
        nodes: name and fields of each operation.
        values: element type of each value, by its id.
        constants: by the id of the value.
    """

    nodes: tuple[tuple[str, Json], ...]
    values: Mapping[int, str]
    constants: Mapping[int, Constant]


@dataclass(frozen=True)
class SavedProgram:
    """A program as its file has it.

    Attributes:
        parts: what XNNPACK runs.
        outside: operators between the parts, and how often each is called.
        constants: that those take.
        norms: names of the constants that LayerNorms among them take.
    """

    parts: tuple[Part, ...]
    outside: Mapping[str, int]
    constants: tuple[Constant, ...]
    norms: frozenset[str] = frozenset()

    def every_constant(self) -> tuple[Constant, ...]:
        """Constants of the parts and between them, once each."""
        inside = (constant for part in self.parts for constant in part.constants.values())
        return tuple({(one.name, one.kind): one for one in (*self.constants, *inside)}.values())


def read_program(path: Path) -> SavedProgram:
    """Read a program.

    Raises:
        BundleError: it is none, or holds what `lower` never writes.
    """
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)  # statistics, comparison and lint read the same file
def _read(path: Path, _changed: int, _size: int) -> SavedProgram:
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        file = deserialize_pte_binary(path.read_bytes())
        plan = file.program.execution_plan[0]
        named = {} if file.named_data is None else {
            key: bytes(file.named_data.buffers[entry.buffer_index]) for key, entry in file.named_data.pte_data.items()
        }  # fmt: skip
        blobs = [_blob(file.program, delegate) for delegate in plan.delegates]
        parts = tuple(_part(blob, graph, named) for blob, graph in zip(blobs, _graphs(blobs), strict=True))
        constants = _constants(file.program, plan)
        return SavedProgram(parts, _outside(plan), tuple(constants.values()), _of_norms(plan, constants))
    except Exception as error:  # a flatbuffer's reader raises whatever it stumbles over
        raise BundleError(f"expected an ExecuTorch program for XNNPACK, {path.name} is none: {error}") from error


def _blob(program: Any, delegate: Any) -> bytes:
    if delegate.id != "XnnpackBackend":
        raise ValueError(f"a part of it is for {delegate.id}")
    return bytes(program.backend_delegate_data[delegate.processed.index].data)


def _graphs(blobs: list[bytes]) -> list[Json]:
    """Flatbuffers of the parts as JSON, by the reader that comes with the library."""
    import executorch.backends.xnnpack.serialization as schemas
    from executorch.exir._serialize import _flatbuffer

    schema = (Path(schemas.__path__[0]) / "schema.fbs").read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "schema.fbs").write_bytes(schema)
        for index, blob in enumerate(blobs):
            start, size = _span(blob, 10)
            (place / f"{index}.bin").write_bytes(blob[start : start + size])
        found = []
        for index in range(len(blobs)):
            _flatbuffer._flatc_decompile(
                directory, str(place / "schema.fbs"), str(place / f"{index}.bin"), ["--raw-binary"]
            )
            found.append(json.loads(ENDLESS.sub(rb"\1Infinity", (place / f"{index}.json").read_bytes())))
    return found


def _span(blob: bytes, at: int) -> tuple[int, int]:
    """Offset and size of a part's flatbuffer (10) or constants (18).

    Source: executorch, backends/xnnpack/serialization/xnnpack_graph_serialize.py `XNNHeader`.
    """
    if blob[4:8] != MAGIC:
        raise ValueError("a part of it has no header of XNNPACK")
    return int.from_bytes(blob[at : at + 4], "little"), int.from_bytes(blob[at + 4 : at + 8], "little")


def _part(blob: bytes, graph: Json, named: Mapping[str, bytes]) -> Part:
    nodes = tuple((node["xnode_union_type"], node["xnode_union"]) for node in graph["xnodes"])
    values, constants = {}, {}
    start, _ = _span(blob, 18)

    def stored(index: int) -> tuple[str, bytes]:
        """Name and bytes of an entry of the part's table of constants."""
        entry = graph["constant_data"][index]
        data = named[entry["named_key"]] if entry.get("named_key") else blob[start + entry["offset"] :]
        return _hash(data[: entry["size"]]), data[: entry["size"]]

    for entry in graph["xvalues"]:
        value, quantization = entry["xvalue_union"], None
        if entry["xvalue_union_type"] == "XNNQuantizedTensorValue":
            quantization, value = (value["quant_params_type"], value["quant_params"]), value["tensor_value"]
        identity = value["id_out"]
        values[identity] = KINDS[value["datatype"]]
        if value["constant_buffer_idx"]:
            name, data = stored(value["constant_buffer_idx"])
            array = _array(data, values[identity], value.get("dims", []))
            scale, zero = (None, 0) if quantization is None else _steps(*quantization, array.shape, stored)
            constants[identity] = Constant(name, values[identity], array, scale, zero)
    return Part(nodes, values, constants)


def _steps(kind: str, found: Json, shape: tuple[int, ...], stored: Any) -> tuple[Array, int]:
    """Scale and zero point of a quantized constant, the scale broadcast to its shape."""
    if kind == "PerTensorQuant":
        return np.float64(found["scale"]) * np.ones(()), int(found["zero_point"])
    if kind != "PerChannelQuant":
        raise ValueError(f"a constant of it is quantized by {kind}")
    scales = found.get("scale") or []
    if not scales:
        scales = np.frombuffer(stored(found["scale_buffer_idx"])[1], np.float32)[: found["num_scales"]]
    axis = found["channel_dim"]
    return np.asarray(scales, np.float64).reshape([-1 if i == axis else 1 for i in range(len(shape))]), 0


def _array(data: bytes, kind: str, sizes: list[int]) -> Array:
    count = math.prod(sizes)
    return np.frombuffer(data, kind, count).reshape(sizes)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _kernels(plan: Any) -> Iterator[tuple[str, Any]]:
    """Name and call of each kernel between the parts, in order."""
    for call in (one.instr_args for chain in plan.chains for one in chain.instructions):
        if hasattr(call, "op_index"):
            yield plan.operators[call.op_index].name, call


def _outside(plan: Any) -> dict[str, int]:
    """Kernels that the plan calls, by name; those that only move sizes about are none."""
    return dict(Counter(name.removeprefix("aten::") for name, _ in _kernels(plan) if not name.startswith(SIZES)))


def _constants(program: Any, plan: Any) -> dict[int, Constant]:
    """Tensors of the plan that have data in the file, by the index of their data."""
    found = {}
    for value in plan.values:
        tensor = value.val
        if getattr(tensor, "data_buffer_idx", 0) and tensor.allocation_info is None:
            data = bytes(program.constant_buffer[tensor.data_buffer_idx].storage)
            kind = SCALARS[tensor.scalar_type.name]
            found[tensor.data_buffer_idx] = Constant(_hash(data), kind, _array(data, kind, list(tensor.sizes)))
    return found


def _of_norms(plan: Any, constants: Mapping[int, Constant]) -> frozenset[str]:
    arguments = (index for name, call in _kernels(plan) if name == LAYER_NORM for index in call.args)
    taken = (getattr(plan.values[index].val, "data_buffer_idx", 0) for index in arguments)
    return frozenset(constants[index].name for index in taken if index in constants)
