"""Findings on real exports name PyTorch modules, whichever exporter wrote the file."""

import warnings
from collections import OrderedDict

import onnx
import pytest
import torch
from torch import nn

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from slide_export.linter.onnx_rules import lint_onnx
from slide_export.linter.onnx_view import dotted
from tests.exporter.linter.conftest import Named, RollBlock, UnfoldAttention, UpstreamSlideAttention, to_onnx

EXAMPLE = torch.zeros(2, 8, 8, 8)


def found(proto: onnx.ModelProto, target: str) -> set[tuple[str, str, str]]:
    return {(f.severity, f.rule, f.module) for f in lint_onnx(proto, (target,))}


def test_upstreams_rank_6_is_an_error_in_its_module() -> None:
    findings = found(to_onnx(Named(UpstreamSlideAttention()), EXAMPLE), "coreml")
    assert ("error", "rank", "layers.0.attn") in findings
    assert ("warning", "multiplier", "layers.0.attn.dep_conv1") in findings
    assert not any(severity == "error" and rule != "rank" for severity, rule, _ in findings)


def test_rank_6_passes_where_it_is_allowed() -> None:
    assert not any(f.severity == "error" for f in lint_onnx(to_onnx(UpstreamSlideAttention(), EXAMPLE), ("tensorrt",)))


@pytest.mark.parametrize("target", ["coreml", "onnx", "openvino", "tensorrt"])
def test_an_unfold_is_an_error_in_its_module_on_every_target(target: str) -> None:
    findings = found(to_onnx(Named(UnfoldAttention()), EXAMPLE), target)
    assert ("error", "im2col", "layers.0.attn.unfold") in findings


def test_a_fold_is_an_error() -> None:
    proto = to_onnx(Named(nn.Fold((4, 4), 2, stride=2)), torch.zeros(2, 12, 4), opset=18)
    assert ("error", "im2col", "layers.0.attn") in found(proto, "onnx")


def test_a_tensor_unfold_is_found() -> None:
    class Windows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.unfold(2, 3, 1).sum(-1)

    assert ("warning", "unfold-slices", "layers.0.attn") in found(to_onnx(Named(Windows()), EXAMPLE), "onnx")


def test_a_rolled_swin_names_roll_view_and_baked_batch() -> None:
    findings = found(to_onnx(Named(RollBlock()), EXAMPLE), "coreml")
    assert ("hint", "roll-slices", "layers.0.attn") in findings
    assert ("hint", "rank-view", "layers.0.attn") in findings
    assert ("warning", "batch-baked", "layers.0.attn") in findings
    assert not any(rule == "rank" for _, rule, _ in findings)


def test_called_sequentials_repeat_no_name() -> None:
    block = nn.Sequential(OrderedDict(conv=nn.Conv2d(8, 16, 3, groups=8)))
    proto = to_onnx(nn.Sequential(OrderedDict(features=nn.Sequential(block))), EXAMPLE)
    assert {f.module for f in lint_onnx(proto, ("onnx",)) if f.rule == "multiplier"} == {"features.0.conv"}


def test_dotted_keeps_what_is_called_once() -> None:
    assert dotted(["layers.0", "blocks.1", "attn"]) == "layers.0.blocks.1.attn"
    assert dotted(["blocks", "blocks.0", "blocks.0.0", "conv"]) == "blocks.0.0.conv"


def test_names_of_the_dynamo_exporter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(Named(UnfoldAttention()).eval(), (EXAMPLE,), dynamo=True, verbose=False)
    assert program is not None
    assert ("error", "im2col", "layers.0.attn.unfold") in found(program.model_proto, "onnx")


def test_a_weight_tells_where_nodes_have_no_names() -> None:
    proto = to_onnx(Named(nn.Conv2d(8, 16, 3, groups=8)), EXAMPLE)
    for node in proto.graph.node:
        node.name = ""
        node.output[:] = [name.replace("/", "_") for name in node.output]
        node.input[:] = [name if name.startswith("layers") else name.replace("/", "_") for name in node.input]
    assert ("warning", "multiplier", "layers.0.attn") in found(proto, "onnx")


def test_our_own_graph_breaks_no_rule_but_the_multiplier(model: Model) -> None:
    graph = onnx_graph.export(in_form(choose(fuse(model), "onnx", "grouped"), ModelIO()))
    assert {f.rule for f in lint_onnx(graph.proto)} == {"multiplier"}
    graph = onnx_graph.export(in_form(choose(fuse(model), "onnx", "taps"), ModelIO()))
    assert lint_onnx(graph.proto) == ()
