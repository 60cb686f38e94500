"""Which nodes of a program are layers of a recipe, in its own words."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import Graph, Node

from slide_export.backends.executorch.quantize import _kind

ATEN = torch.ops.aten


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
