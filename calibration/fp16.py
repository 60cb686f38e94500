"""OnnxGraph -> OnnxGraph in float16: the precision stands in the graph as types and casts.

Weights and maths become float16; the graph's inputs and outputs keep their types. A node stays in float32, with one
cast where its neighbours differ, if fp16 could cost it the noise floor or overflow:

    Softmax, LayerNormalization, ReduceMean, ReduceSum    sums over many terms, and squares
    Max, Sub, Exp, the sum of the exponentials, its Div   a softmax that a lowering wrote out (`lowering/taps.py`)
    the preprocessing in front of the first layer         0 to 255 times the scale cancels against the shift

Source: overflow sits in the interiors of LayerNorm and softmax, onnxruntime PR#13639, TensorRT #4493; strong typing,
TensorRT-LLM #3223. `onnxruntime.transformers.float16` (1.32) is not used: it rounds to float16 and back between two
neighbours that are both kept in float32 (106 times in Slide-Swin-T "taps"), appends its casts behind their users so
that `onnx.checker` refuses the graph, and clamps weights beyond float16 without a word.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slide_export.core.errors import LoweringError
from slide_export.core.graph import OnnxGraph

from .layer_selection import in_modules

FULL, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
LARGEST = float(np.finfo(np.float16).max)  # 65504
INTERIORS = frozenset({"Softmax", "LogSoftmax", "LayerNormalization", "ReduceMean", "ReduceSum", "Max", "Sub", "Exp"})
FRONT = frozenset({"Cast", "Mul", "Add", "Sub", "Div", "Transpose", "Reshape"})
"""What embedded preprocessing is made of, see `serving.py`."""


def to_half(graph: OnnxGraph, keep: Sequence[str] = ()) -> OnnxGraph:
    """Returns the graph in float16, the same bytes for the same graph; inputs and outputs keep their types.

    A weight is rounded to the nearest float16, subnormal ones included, so its error is at most 2^-25 below 6e-5. A
    node stays in float32 where that would turn a whole tensor of weights to zero.

    Args:
        keep: PyTorch modules that stay in float32 with all that is in them; * and ? are wildcards.

    Raises:
        LoweringError: a weight is beyond float16, or an operator cannot be typed in float16.
    """
    writer = _Writer(graph.proto, keep)
    for node in writer.source.node:
        writer.add(node)
    proto = writer.finish(graph.proto)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LoweringError(f"expected a graph that float16 can type, the checker says: {error}") from error
    return OnnxGraph(proto, graph.inputs, graph.outputs)


class _Writer:
    """The graph as it is being rewritten: each node in its type, a cast before the first user that differs."""

    def __init__(self, proto: onnx.ModelProto, keep: Sequence[str]) -> None:
        self.source = onnx.shape_inference.infer_shapes(proto).graph
        self.weights = _weights(self.source)
        self.wide = _wide(self.source, self.weights) | _kept(self.source, keep)
        values = (*self.source.value_info, *self.source.input, *self.source.output)
        self.floats = {value.name for value in values if value.type.tensor_type.elem_type == FULL}
        self.graph_outputs = {value.name for value in self.source.output}
        self.taken = {*self.weights, *(name for node in self.source.node for name in (*node.input, *node.output))}
        self.types = {value.name: FULL for value in self.source.input}  # of a float value, in the new graph
        self.forms: dict[tuple[str, int], str] = {}  # value, type -> what the value is called in that type
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Writes a node in its type, and what it needs before it."""
        if node.output[0] in self.weights:
            return  # a Constant: written with the weights
        kind = FULL if node.output[0] in self.wide else HALF
        written = onnx.NodeProto()
        written.CopyFrom(node)
        written.input[:] = [self._fed(name, kind) for name in node.input]
        self.nodes.append(written)
        for index, name in enumerate(node.output):
            if name not in self.floats:
                continue
            self.types[name] = kind
            if kind == HALF and name in self.graph_outputs:  # it keeps its name and type: a cast writes it
                written.output[index] = self.forms[name, HALF] = self._new(name, "half")
                self.forms[name, FULL] = name
                self._cast(written.output[index], name, FULL)

    def finish(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Returns the model with the new nodes and weights."""
        made = onnx.ModelProto()
        made.CopyFrom(proto)
        for field in ("node", "initializer", "value_info"):
            made.graph.ClearField(field)
        made.graph.node.extend(self.nodes)
        made.graph.initializer.extend(self.tensors.values())
        made.metadata_props.add(key="precision", value="fp16")
        return onnx.shape_inference.infer_shapes(made)

    def _fed(self, name: str, kind: int) -> str:
        """Returns what an input is called in a type, written first where it is not there yet."""
        if name in self.weights:
            return self._weight(name, kind)
        if name not in self.floats:
            return name
        if (name, kind) not in self.forms:
            if self.types[name] == kind:
                return name
            self.forms[name, kind] = self._new(name, "half" if kind == HALF else "full")
            self._cast(name, self.forms[name, kind], kind)
        return self.forms[name, kind]

    def _weight(self, name: str, kind: int) -> str:
        tensor = self.weights[name]
        if tensor.data_type == FULL and kind == HALF:
            if (name, HALF) not in self.forms:
                self.forms[name, HALF] = self._new(name, "half")
            name = self.forms[name, HALF]
            if name not in self.tensors:
                self.tensors[name] = numpy_helper.from_array(_rounded(tensor), name)
        elif name not in self.tensors:
            self.tensors[name] = onnx.TensorProto()
            self.tensors[name].CopyFrom(tensor)
            self.tensors[name].name = name  # a Constant's tensor has another
        return name

    def _cast(self, source: str, target: str, kind: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind))

    def _new(self, name: str, suffix: str) -> str:
        fresh = f"{name}_{suffix}"
        while fresh in self.taken:
            fresh += "_"
        self.taken.add(fresh)
        return fresh


def _weights(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Returns every constant by name: the initializers and the Constant nodes that hold a tensor."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            held[node.output[0]] = node.attribute[0].t
    return held


def _wide(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> set[str]:
    """Returns the outputs of the nodes that stay in float32."""
    wide: set[str] = set()
    sums: set[str] = set()  # exponentials and sums of them
    front = {value.name for value in graph.input if value.type.tensor_type.elem_type != FULL}
    for node in graph.node:
        fed = [name for name in node.input if name and name not in weights]
        if node.op_type in FRONT and fed and front.issuperset(fed):
            front.update(node.output)
            wide.update(node.output)
            continue
        if node.op_type == "Exp" or (node.op_type == "Add" and fed and sums.issuperset(fed)):
            sums.update(node.output)
        divides = node.op_type == "Div" and node.input[1] in sums
        if node.op_type in INTERIORS or divides or any(_vanishes(weights[n]) for n in node.input if n in weights):
            wide.update(node.output)
    return wide | sums


def _kept(graph: onnx.GraphProto, keep: Sequence[str]) -> set[str]:
    """Returns the outputs of the nodes of modules that were asked for in float32."""
    return {name for node in graph.node if in_modules(node, keep) for name in node.output}


def _vanishes(tensor: onnx.TensorProto) -> bool:
    """Tells whether float16 would leave nothing of a tensor that is not zero."""
    if tensor.data_type != FULL:
        return False
    values = numpy_helper.to_array(tensor)
    return 0 < float(np.abs(values).max(initial=0)) < float(np.finfo(np.float16).smallest_subnormal) / 2


def _rounded(tensor: onnx.TensorProto) -> NDArray[np.float16]:
    values = numpy_helper.to_array(tensor)
    if not bool((np.abs(values) <= LARGEST).all()):  # a NaN is not
        raise LoweringError(
            f"expected weights within ±{LARGEST:.0f}, the range of float16; found {np.abs(values).max():g} in "
            f"{tensor.name}: export with precision fp32"
        )
    return values.astype(np.float16)
