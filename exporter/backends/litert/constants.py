"""The constants of a `.tflite` file as LiteRT expands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import Array
from slide_export.core.stored import StoredConstant, rounded_float, stepped

from . import flatbuffer
from .flatbuffer import Graph, Tensor

FLOATS = frozenset({"float32", "float16"})


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every float constant of a file and every quantized one, biases in int32 too.

    scale * (data - zero), one scale or one a slice. Integers without a scale are shapes and axes.

    Raises:
        BundleError: the file cannot be read.
    """
    graph = flatbuffer.read(path)
    modules = _modules(graph)
    for index, tensor in enumerate(graph.tensors):
        if tensor.data is None:
            continue
        module = modules.get(index) or tensor.scope or ""
        if tensor.scale is not None and tensor.zero is not None:
            scale, zero = (_along(part, tensor) for part in (tensor.scale, tensor.zero))
            yield stepped(tensor.name, tensor.type, tensor.values, scale, zero, module)
        elif tensor.type in FLOATS:
            yield rounded_float(tensor.name, tensor.type, tensor.values, module)


def _along(values: Array, tensor: Tensor) -> Array:
    """Scales or zero points in a shape that broadcasts to the data."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape([-1 if axis == tensor.axis else 1 for axis in range(len(tensor.shape))])


def _modules(graph: Graph) -> Mapping[int, str]:
    """The module of the first operation that takes each tensor, through one that expands it."""
    found: dict[int, str] = {}
    for operation in graph.operations:
        module = next((graph.tensors[index].scope or "" for index in operation.outputs), "")
        for index in operation.inputs:
            found.setdefault(index, module)
    return found
