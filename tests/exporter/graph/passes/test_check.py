"""The rules find what breaks them."""

import io
import warnings

import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from slide_export.core.errors import ExportError
from slide_export.graph.convert import to_ir, to_proto
from slide_export.graph.passes.check import Check, ranks


def graph_of(*nodes: onnx.NodeProto, shape: tuple[int, ...] = (2, 3)) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_empty_tensor_value_info("y")
    index = helper.make_tensor("index", TensorProto.INT64, [1], [0])
    graph = helper.make_graph(nodes, "g", [value], [out], [index])
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


def check(proto: onnx.ModelProto) -> ir.passes.PassResult:
    return Check()(to_ir(proto))


def test_a_plain_graph_passes_unchanged() -> None:
    proto = graph_of(helper.make_node("Relu", ["x"], ["y"]))
    result = check(proto)
    assert not result.modified
    assert to_proto(result.model).graph.node == proto.graph.node


def test_ranks_are_inferred_where_nobody_states_them() -> None:
    proto = graph_of(helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"]))
    del proto.graph.value_info[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert ranks(to_ir(proto)) == {"x": 2, "a": 2, "y": 2}


def test_a_gather_is_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"without Im2Col, found Gather \(culprit\)"):
        check(graph_of(helper.make_node("Gather", ["x", "index"], ["y"], name="culprit")))


def test_rank_6_is_refused() -> None:
    with pytest.raises(ExportError, match="rank 5, found 2"):
        check(graph_of(helper.make_node("Relu", ["x"], ["y"]), shape=(1, 1, 1, 1, 2, 3)))


def test_an_invalid_graph_is_refused() -> None:
    with pytest.raises(ExportError, match="checker says"):
        check(graph_of(helper.make_node("NoSuchOperator", ["x"], ["y"])))


@pytest.mark.parametrize("guise", [nn.Unfold(3, padding=1), nn.Fold((4, 4), 2, stride=2)], ids=["unfold", "fold"])
def test_what_torch_makes_of_an_unfold_is_refused(guise: nn.Module) -> None:
    x = torch.zeros(1, 3, 4, 4) if isinstance(guise, nn.Unfold) else torch.zeros(1, 12, 4)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(guise, (x,), buffer, dynamo=False, opset_version=18)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="without Im2Col"):
        check(onnx.load_from_string(buffer.getvalue()))


@pytest.mark.parametrize("sorted_by", [True, False])
def test_a_gather_by_an_order_that_the_graph_sorts_is_no_im2col(sorted_by: bool) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))
    out = helper.make_empty_tensor_value_info("y")
    weights = [
        helper.make_tensor("three", TensorProto.INT64, [1], [3]),
        helper.make_tensor("0", TensorProto.INT64, [2, 3], [0] * 6),
    ]
    nodes = [
        helper.make_node("TopK", ["x", "three"], ["values", "order"], axis=1, largest=0),
        helper.make_node("GatherElements", ["x", "order" if sorted_by else "0"], ["y"], axis=1, name="culprit"),
    ]
    graph = helper.make_graph(nodes, "g", [value], [out], weights)
    proto = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )
    if sorted_by:
        assert not check(proto).modified
    else:
        with pytest.raises(ExportError, match=r"found GatherElements \(culprit\)"):
            check(proto)


def test_a_gather_by_what_is_kept_of_overlapping_boxes_is_none() -> None:
    limits = [helper.make_tensor(name, kind, [1], [value]) for name, kind, value in LIMITS]
    nodes = (
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"]),
        helper.make_node("GatherND", ["scores", "kept"], ["values"]),
        helper.make_node("ScatterND", ["scores", "kept", "values"], ["y"]),
    )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("boxes", (1, 7, 4)), ("scores", (1, 2, 7)))
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")], limits)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    check(onnx.shape_inference.infer_shapes(proto))
    graph.node[2].input[1] = "fixed"
    graph.initializer.append(helper.make_tensor("fixed", TensorProto.INT64, [1, 3], [0, 0, 0]))
    graph.node[1].input[1] = "fixed"
    with pytest.raises(ExportError, match="without Im2Col, found GatherND"):
        check(
            onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=proto.opset_import, ir_version=8))
        )


LIMITS = (
    ("most", TensorProto.INT64, 3),
    ("overlap", TensorProto.FLOAT, 0.5),
    ("least", TensorProto.FLOAT, 0.05),
)


def test_an_index_that_is_computed_of_constants_is_no_order() -> None:
    nodes = (
        helper.make_node("Sub", ["index", "index"], ["moved"]),
        helper.make_node("Gather", ["x", "moved"], ["y"]),
    )
    with pytest.raises(ExportError, match="without Im2Col, found Gather"):
        check(graph_of(*nodes))
