"""Which layers of a graph torchao quantizes, and what becomes of a layer that is called twice."""

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from slide_export.backends.executorch.quantize import _kind, quantized
from slide_export.backends.executorch.vendor import quiet
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.inference.forms.folding import pointwise
from tests.targets import missing

pytestmark = missing("executorch")
ATEN = torch.ops.aten


def recipe(*kinds: str) -> QuantizationRecipe:
    return QuantizationRecipe("torchao", "asymmetric", min_sqnr_db=20, min_top1=0.95, quantize=kinds)


class Gate(nn.Module):
    """CBAM's channel gate in small: one MLP for two inputs, one of them a hundred times the other."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) + self.mlp(x * 100)


class Net(nn.Module):
    """A convolution with a ReLU behind it, a depthwise one and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depth, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.depth(torch.relu(self.conv(x))).mean((2, 3)))


def graph_of(module: nn.Module, example: Tensor) -> GraphModule:
    torch.manual_seed(0)
    with quiet():
        return cast("GraphModule", torch.export.export(module.eval(), (example,)).module())


def rounded_weights(graph: GraphModule) -> int:
    return sum("quantize_per_channel" in str(node.target) and "de" in str(node.target) for node in graph.graph.nodes)


@pytest.mark.parametrize(
    ("kinds", "layers"),
    [(("linear",), 1), (("linear", "convolution"), 2), (("linear", "convolution", "depthwise"), 3)],
)
def test_layers_of_the_recipes_kinds_are_quantized(kinds: tuple[str, ...], layers: int) -> None:
    example = torch.randn(1, 3, 8, 8)
    assert rounded_weights(quantized(graph_of(Net(), example), recipe(*kinds), [(example,)])) == layers


def test_a_forms_projections_stay_in_float() -> None:
    example = torch.randn(1, 3, 8, 8)
    graph = graph_of(Net(), example)
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.conv2d.default:
            node.meta["nn_module_stack"] = {"": ("attn", f"{pointwise.__module__}.Shifts")}
    assert rounded_weights(quantized(graph, recipe("linear", "convolution"), [(example,)])) == 1  # the head's


def test_two_calls_of_a_layer_have_a_bias_each(tmp_path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = torch.randn(1, 16)
    gate = Gate()
    nn.init.constant_(gate.mlp[0].bias, 3.0)  # type: ignore[arg-type]
    truth = copy.deepcopy(gate)(example)
    graph = quantized(graph_of(gate, example), recipe("linear"), [(example,)])
    with quiet():
        program = to_edge_transform_and_lower(
            torch.export.export(graph, (example,)), partitioner=[XnnpackPartitioner()]
        ).to_executorch()
    path = tmp_path / "gate.pte"
    path.write_bytes(program.buffer)
    with quiet():
        from executorch.runtime import Runtime
    (found,) = Runtime.get().load_program(path).load_method("forward").execute([example])  # type: ignore[union-attr]
    noise = (found - truth).pow(2).mean() / truth.pow(2).mean()
    assert noise < 1e-3  # 30 dB


def node(target: Any, *arguments: Any, **named: Any) -> Node:
    return Graph().create_node("call_function", target, arguments, named)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (node(ATEN.linear.default), "linear"),
        (node(ATEN.conv2d.default), "convolution"),
        (node(ATEN.conv2d.default, 0, 0, None, 1, 0, 1, 1), "convolution"),
        (node(ATEN.conv2d.default, 0, 0, None, 1, 0, 1, 2), "depthwise"),
        (node(ATEN.conv2d.default, groups=8), "depthwise"),
        (node(ATEN.conv2d.default, groups=1), "convolution"),
        (node(ATEN.matmul.default), None),
        (node(ATEN.softmax.int), None),
    ],
)
def test_kinds_of_layers(made: Node, kind: str | None) -> None:
    assert _kind(made) == kind


@pytest.mark.parametrize(("groups", "kind"), [(1, "convolution"), (4, "depthwise")])
def test_an_exported_convolution_says_its_groups(groups: int, kind: str) -> None:
    program = torch.export.export(nn.Conv2d(4, 4, 3, groups=groups), (torch.zeros(1, 4, 5, 5),))
    assert {_kind(one) for one in program.graph.nodes} == {None, kind}
