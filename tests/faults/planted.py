"""Faults planted in a graph, a module or a session: each function alters a copy by a size and names what it altered."""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from slide_export.backends.interface import Session
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.graph import OnnxGraph
from slide_export.inference.served import ServedModel

GREY_LEVELS = 255
HALF_MAX = 65504.0
TURNED = "_Transposed"
A_PERCENT = 0.01


class NothingToAlterError(Exception):
    """The graph has nothing of the kind, so the fault cannot be in it."""


def copied(graph: OnnxGraph) -> OnnxGraph:
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    return OnnxGraph(proto, graph.inputs, graph.outputs)


def _tensor(graph: OnnxGraph, name: str) -> onnx.TensorProto:
    """The initializer of this name in whatever precision: `head.weight_quantized`, `q_output_head.weight_1`."""
    forms = re.compile(rf"(q_output_)?{re.escape(name)}({TURNED})?(_quantized|_half|_\d+)?")
    found = [tensor for tensor in graph.proto.graph.initializer if forms.fullmatch(tensor.name)]
    if not found:
        raise NothingToAlterError(name)
    return found[0]


def _set(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def weight_off(graph: OnnxGraph, size: float, name: str) -> str:
    """One weight larger by a share of itself, the largest of its tensor; of integers, smaller by at least a step.

    By two for a percent: a value between two integers may be rounded to either, so that one step may be no fault.
    """
    tensor = _tensor(graph, name)
    values = numpy_helper.to_array(tensor).copy()
    at = np.unravel_index(np.abs(values.astype(np.float64)).argmax(), values.shape)
    if values.dtype.kind == "f":
        values[at] = values[at] * (1 + size)
    else:
        values[at] -= np.sign(values[at]) * (2 if size >= A_PERCENT else 1)
    _set(tensor, values)
    return f"{tensor.name}{list(map(int, at))}"


def classes_swapped(graph: OnnxGraph, size: float, head: str) -> str:
    """The first `size` pairs of rows of the head's weights and biases exchanged."""
    for part in ("weight", "bias"):
        tensor = _tensor(graph, f"{head}.{part}")
        values = numpy_helper.to_array(tensor).copy()
        rows = values.T if TURNED in tensor.name else values
        for pair in range(int(size)):
            rows[[2 * pair, 2 * pair + 1]] = rows[[2 * pair + 1, 2 * pair]]
        _set(tensor, values)
    return f"{int(size)} of the pairs"


def table_transposed(graph: OnnxGraph, size: float) -> str:
    """A share of the heads of one window's bias table with queries and keys exchanged."""
    for tensor in graph.proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and values.ndim >= 3 and values.shape[-1] == values.shape[-2] > 4:
            if values.shape[1] == 1 or np.array_equal(values, values.swapaxes(-1, -2)):
                continue  # a kernel
            values = values.copy()
            heads = max(1, round(size * values.shape[1]))
            values[:, :heads] = values[:, :heads].swapaxes(-1, -2).copy()
            _set(tensor, values)
            return tensor.name
    raise NothingToAlterError("bias table")


def epsilon_off(graph: OnnxGraph, size: float) -> str:
    """Every LayerNorm's epsilon `size` times as large."""
    norms = [node for node in graph.proto.graph.node if node.op_type == "LayerNormalization"]
    for node in norms:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f *= size
    return f"{len(norms)} norms"


def shift_undone(graph: OnnxGraph, size: float) -> str:
    """The first roll of a window block put together in the other order, so that it does not roll."""
    made = {output: node for node in graph.proto.graph.node for output in node.output}
    for node in graph.proto.graph.node:
        if node.op_type != "Concat" or len(node.input) != 2:
            continue
        sources = [made[name] for name in node.input if name in made]
        kinds, origins = {one.op_type for one in sources}, {one.input[0] for one in sources}
        if len(sources) == 2 and kinds <= {"Slice", "Split"} and len(origins) == 1:
            node.input[:] = list(reversed(node.input))
            return node.name
    raise NothingToAlterError("shifted window")


def mean_off(graph: OnnxGraph, size: float, std: float) -> str:
    """The embedded mean of the last channel larger by `size` grey levels of 255."""
    tensors = {tensor.name: tensor for tensor in graph.proto.graph.initializer}
    tensors |= {node.output[0]: node.attribute[0].t for node in graph.proto.graph.node if node.op_type == "Constant"}
    for node in graph.proto.graph.node:
        for name in node.input if node.op_type == "Add" else ():
            if name in tensors and numpy_helper.to_array(tensors[name]).shape in ((1, 3, 1, 1), (3, 1, 1)):
                values = numpy_helper.to_array(tensors[name]).copy()
                values.reshape(-1)[-1] -= size / GREY_LEVELS / std
                _set(tensors[name], values)
                return name
    raise NothingToAlterError("embedded mean")


def mean_served_off(source: ServedModel, size: float) -> ServedModel:
    """The same of a target that starts from the module: its preprocessing is embedded when it is traced."""
    *others, last = source.trained.data.mean
    data = replace(source.trained.data, mean=(*others, last + size / GREY_LEVELS))
    return replace(source, trained=replace(source.trained, data=data))


def overflowing(module: Any, size: float) -> Any:
    """A copy of a trained module, the same mathematics, with the values of one attention beyond float16 on their way.

    Given    v = W_v x, y = P attend(v)      Result    v = (s W_v) x, y = (P / s) attend(v), s = size * 65504
    """
    import torch

    altered = copy.deepcopy(module)
    attention = altered.get_submodule("layers.1.blocks.0.attn")
    factor, rows = size * HALF_MAX, len(attention.qkv.weight) // 3
    with torch.no_grad():
        for value in (attention.qkv.weight, attention.qkv.bias):
            value[2 * rows :] *= factor
        attention.proj.weight /= factor
    return altered


def hidden_float32(graph: OnnxGraph, size: float) -> str:
    """Weights of at least a share of all bytes stored in float32, each cast to float16 before it is used."""
    halves = [t for t in graph.proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    if not halves:
        raise NothingToAlterError("float16")
    total, hidden, names = sum(len(t.raw_data) for t in halves), 0, []
    for tensor in sorted(halves, key=lambda one: len(one.raw_data)):
        if hidden >= size * total:
            break
        values, name = numpy_helper.to_array(tensor), tensor.name
        if values.ndim < 2:
            continue
        hidden += values.nbytes
        names.append(name)
        graph.proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), f"{name}_full"))
        graph.proto.graph.initializer.remove(tensor)
        cast = helper.make_node("Cast", [f"{name}_full"], [name], f"{name}/Cast", to=onnx.TensorProto.FLOAT16)
        graph.proto.graph.node.insert(0, cast)
    return f"{len(names)} tensors, {hidden / total:.1%} of the bytes"


class WrongOnOne:
    """A session that answers one image of many wrongly: by a share of its largest output."""

    def __init__(self, session: Session, image: Feeds, size: float) -> None:
        self._session, self._size = session, size
        self._image = {name: value[-1] for name, value in image.items()}
        self.evaluator = session.evaluator

    def run(self, feeds: Feeds) -> Outputs:
        outputs = {name: np.array(value) for name, value in self._session.run(feeds).items()}
        for row in self._rows(feeds):
            for value in outputs.values():
                value[row].flat[0] += self._size * np.abs(value[row]).max()
        return outputs

    def _rows(self, feeds: Feeds) -> Iterator[int]:
        (name, image), *_ = self._image.items()
        return (row for row, value in enumerate(feeds[name]) if np.array_equal(value, image))


def in_module(module: Any, fault: str, size: float) -> Any:
    """The same faults in a copy of a PyTorch module, for a target that starts from it."""
    import torch
    from torch import nn

    altered = copy.deepcopy(module)
    with torch.no_grad():
        if fault == "weight":
            weight = altered.get_submodule("layers.1.blocks.0.mlp.fc1").weight
            at = int(weight.abs().argmax())
            weight.view(-1)[at] *= 1 + size
        elif fault == "classes":
            for value in altered.get_submodule("head").parameters():
                value[[0, 1]] = value[[1, 0]]
        elif fault == "table":
            attention = next(
                one
                for one in altered.modules()
                if isinstance(getattr(one, "bias", None), torch.Tensor) and one.bias.ndim == 4
            )
            heads = max(1, round(size * attention.bias.shape[1]))
            attention.bias[:, :heads] = attention.bias[:, :heads].transpose(-1, -2).clone()
        elif fault == "epsilon":
            for one in altered.modules():
                if isinstance(one, nn.LayerNorm):
                    one.eps *= size
        elif fault == "shift":
            windows = next(
                one.windows for one in altered.modules() if any(getattr(getattr(one, "windows", None), "shift", ()))
            )
            windows.shift = tuple(side - int(size) for side in windows.shift)
        else:
            raise NothingToAlterError(fault)
    return altered
