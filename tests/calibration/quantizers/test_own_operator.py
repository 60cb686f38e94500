"""What stands in the operator's place while a graph is quantized is its function, and the operator comes back."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from slide_export.calibration.quantizers.own_operator import MARK, collapse, expand
from slide_export.core.errors import LoweringError
from slide_export.inference.forms.native import attended
from slide_export.native import DOMAIN
from tests.exporter.native.test_operator import arrays, graph

SHAPES = ((1, 5, 7, 2, 16, 3, False), (3, 4, 6, 3, 4, 3, True), (2, 6, 5, 2, 2, 5, False))
ROUNDING = 1e-5  # float32 sums of some hundred terms near 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_subgraph_is_the_operators_function(shape: tuple[int, ...]) -> None:
    given = arrays(shape)
    proto = graph(shape, given)
    expand(proto)
    assert all(node.domain != DOMAIN for node in proto.graph.node)
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"qkv": given[0]})
    exact = attended(*(torch.from_numpy(one).double() for one in given), shape[3], shape[5]).numpy()
    assert np.abs(found - exact).max() < ROUNDING * np.abs(exact).max()


def test_the_operator_comes_back() -> None:
    shape = SHAPES[0]
    proto = graph(shape, arrays(shape))
    before = onnx.ModelProto()
    before.CopyFrom(proto)
    kept = expand(proto)
    collapse(proto, kept)
    assert list(proto.graph.node) == list(before.graph.node)
    assert {one.name: one for one in proto.graph.initializer} == {one.name: one for one in before.graph.initializer}


def test_a_node_inside_of_it_is_refused() -> None:
    shape = SHAPES[0]
    proto = graph(shape, arrays(shape))
    kept = expand(proto)
    inner = next(node for node in proto.graph.node if node.op_type == "Softmax")
    proto.graph.node.append(helper.make_node("Relu", [inner.output[0]], ["seen"], "a quantizer's"))
    assert MARK in inner.output[0]
    with pytest.raises(LoweringError, match="a quantizer's inside of it"):
        collapse(proto, kept)
