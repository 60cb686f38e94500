"""The guises that unfolding, rolling and indexing take in ONNX, which has no operator for the first two.

`F.unfold` becomes a Pad and two Gathers whose indices are matrices, `F.fold` a Col2Im or (below opset 18) a scatter,
`Tensor.unfold` a stack of overlapping Slices, `torch.roll` two Slices and a Concat for each axis.
Source: torch/onnx/_internal/torchscript_exporter/symbolic_opset9.py, symbolic_opset11.py, symbolic_opset18.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from .onnx_view import Graph
from .rules import Device

GATHERS = frozenset({"Gather", "GatherElements", "GatherND"})
SCATTERS = frozenset({"Scatter", "ScatterElements", "ScatterND"})
FOLDS = frozenset({"Col2Im", "Unfold"})
MIN_UNFOLD_SLICES = 3  # slices that make a stack an unfold; two are a roll, or two halves


def im2col(graph: Graph) -> Iterator[Device]:
    """Find unfolds and folds of activations."""
    for node in graph.nodes:
        if node.op_type in FOLDS:
            yield graph.module(node), f"{node.op_type}: a fold"
        elif node.op_type in SCATTERS and node.input[0] not in graph.live and _takes_activations(graph, node):
            yield graph.module(node), f"{node.op_type} of activations into a constant map: a fold"
        elif _unfolds(graph, node):
            yield graph.module(node), "Gather of activations by a matrix of indices: an unfold"


def stacked_slices(graph: Graph) -> Iterator[Device]:
    """Find concatenations of overlapping windows of one value.

    Given   Concat(Unsqueeze(x[:, 0:3]), Unsqueeze(x[:, 1:4]), Unsqueeze(x[:, 2:5]))
    Result  "a stack of 3 overlapping slices: Tensor.unfold"
    """
    for node in graph.nodes:
        slices = [_unsqueezed_slice(graph, name) for name in node.input] if node.op_type == "Concat" else []
        windows = [window for window in slices if window is not None]
        if len(windows) >= MIN_UNFOLD_SLICES and len(windows) == len(slices) and _overlap(windows):
            yield graph.module(node), f"a stack of {len(windows)} overlapping slices: Tensor.unfold"


def gathers(graph: Graph) -> Iterator[Device]:
    """Find data movement by indices that is no unfold, no roll and no plain selection."""
    for node in graph.nodes:
        if node.op_type not in GATHERS | SCATTERS or not _takes_activations(graph, node):
            continue
        is_fold = node.op_type in SCATTERS and node.input[0] not in graph.live
        if not (is_fold or _unfolds(graph, node) or _selects(graph, node) or _rolls(graph, node)):
            yield graph.module(node), f"{node.op_type} of activations"


def selections(graph: Graph) -> Iterator[Device]:
    """Find Gathers of one constant index, `x[:, 0]`."""
    for node in graph.nodes:
        if _selects(graph, node):
            yield graph.module(node), "Gather of one index of activations"


def constant_gathers(graph: Graph) -> Iterator[Device]:
    """Find Gathers whose result is known before the model runs."""
    for node in graph.nodes:
        constant = node.op_type in GATHERS and all(graph.constant(name) is not None for name in node.input)
        if constant and (graph.rank(node.input[0]) or 0) > 1:
            yield graph.module(node), f"{node.op_type} of a weight by constant indices"


def roll_gathers(graph: Graph) -> Iterator[Device]:
    """Find Gathers whose indices are a rotation."""
    for node in graph.nodes:
        if _rolls(graph, node):
            yield graph.module(node), "Gather by rotated indices: a roll"


def roll_slices(graph: Graph) -> Iterator[Device]:
    """Find pairs of Slices that a Concat puts together in the other order.

    Given   Concat(x[:, 3:], x[:, :3], axis=1)
    Result  "two Slices and a Concat on axis 1: a roll"
    """
    for node in graph.nodes:
        if node.op_type != "Concat" or len(node.input) != 2:
            continue
        tail, head = (_window(graph, name) for name in node.input)
        if tail is None or head is None:
            continue
        if (tail.data, tail.axis) == (head.data, head.axis) and tail.start == head.end and head.start == 0:
            yield graph.module(node), f"two Slices and a Concat on axis {tail.axis}: a roll"


@dataclass(frozen=True)
class _Window:
    data: str
    axis: int
    start: int
    end: int


def _takes_activations(graph: Graph, node: onnx.NodeProto) -> bool:
    return not graph.live.isdisjoint(node.input)


def _unfolds(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Gather" or node.input[0] not in graph.live or node.input[1] in graph.live:
        return False
    return (graph.rank(node.input[1]) or 0) > 1


def _selects(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Gather" or node.input[0] not in graph.live:
        return False
    index = graph.constant(node.input[1])
    return index is not None and index.size == 1 and index.ndim < 2


def _rolls(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Gather" or node.input[0] not in graph.live:
        return False
    index = graph.constant(node.input[1])
    if index is None or index.ndim != 1 or index.size < 2 or index[0] == 0:
        return False
    return np.array_equal(index, np.roll(np.arange(index.size), -int(index[0])))


def _window(graph: Graph, name: str) -> _Window | None:
    """Range of a Slice on one axis with step 1; opset 10 and later, where the operands are inputs."""
    node = graph.producer.get(name)
    if node is None or node.op_type != "Slice" or node.input[0] not in graph.live:
        return None
    starts, ends, axes, steps = (graph.integers(node, position) for position in (1, 2, 3, 4))
    if starts is None or ends is None or axes is None or len(axes) != 1 or (steps or [1]) != [1]:
        return None
    return _Window(node.input[0], axes[0], starts[0], ends[0])


def _unsqueezed_slice(graph: Graph, name: str) -> _Window | None:
    node = graph.producer.get(name)
    if node is None or node.op_type != "Unsqueeze":
        return None
    before = graph.producer.get(node.input[0])
    inner = before.input[0] if before is not None and before.op_type == "Transpose" else node.input[0]
    return _window(graph, inner)


def _overlap(windows: list[_Window]) -> bool:
    ordered = sorted(windows, key=lambda window: window.start)
    same = len({(window.data, window.axis) for window in windows}) == 1
    return same and all(late.start < early.end for early, late in itertools.pairwise(ordered))
