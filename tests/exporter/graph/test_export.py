"""The exported graph keeps the rules, and the same request gives the same bytes."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import ExportError
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import FusedModel, InferenceModel, Model
from slide_export.graph import export as onnx_graph
from slide_export.graph.convert import to_ir
from slide_export.graph.passes.check import Check, ranks
from slide_export.inference.choose import choose
from slide_export.inference.forms import FORMS
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from slide_export.models import im2col_swin
from tests.conftest import SMALL


@pytest.fixture(scope="module", params=list(FORMS))
def graph(request: pytest.FixtureRequest, model: Model) -> OnnxGraph:
    return onnx_graph.export(in_form(choose(fuse(model), request.param), ModelIO(labels=tuple("abcdefghij"))))


def test_input_and_output_are_named_with_a_dynamic_batch(graph: OnnxGraph) -> None:
    assert [(spec.name, spec.dtype, spec.shape) for spec in (*graph.inputs, *graph.outputs)] == [
        ("images", "float32", ("batch", 3, 64, 64)),
        ("logits", "float32", ("batch", 10)),
    ]


def test_no_constant_is_left_to_compute(graph: OnnxGraph) -> None:
    kinds = {node.op_type for node in graph.proto.graph.node}
    assert not kinds & {"Gather", "Shape", "Range", "Expand", "Unsqueeze", "Where", "Identity"}


def test_slide_blocks_stay_at_rank_4(graph: OnnxGraph) -> None:
    inside = {name: rank for name, rank in ranks(to_ir(graph.proto)).items() if re.match(r"/layers\.[01]/blocks", name)}
    assert inside
    assert max(inside.values()) == 4


def test_nodes_carry_module_names(graph: OnnxGraph) -> None:
    names = [node.name for node in graph.proto.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("/layers.1/blocks.1/attn/q") for name in names)
    assert not any("module" in name for name in names)
    assert all(name.startswith(("/layers.", "/patch_embed", "/norm", "/head", "/ReduceMean")) for name in names)


def test_metadata_tells_labels_and_normalisation(graph: OnnxGraph) -> None:
    metadata = {item.key: item.value for item in graph.proto.metadata_props}
    assert metadata["labels"] == '["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]'
    assert metadata["mean"] == "[0.485, 0.456, 0.406]"
    assert (graph.proto.opset_import[0].version, graph.proto.producer_name) == (17, "slide-export")


def test_fixed_batch_is_fixed(model: Model) -> None:
    graph = onnx_graph.export(in_form(choose(fuse(model), "wide_shifts"), ModelIO(batch=3)))
    assert graph.inputs[0].shape == (3, 3, 64, 64)
    assert graph.outputs[0].shape == (3, 10)


def test_features_are_four_named_maps(model: Model) -> None:
    graph = onnx_graph.export(in_form(choose(fuse(model), "wide_shifts"), ModelIO(features=True)))
    assert [(spec.name, spec.shape) for spec in graph.outputs] == [
        ("stage1", ("batch", 16, 16, 16)),
        ("stage2", ("batch", 32, 8, 8)),
        ("stage3", ("batch", 64, 4, 4)),
        ("stage4", ("batch", 128, 2, 2)),
    ]


SCRIPT = """
import hashlib, sys
from slide_export import fuse, load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.graph.export import export
from slide_export.inference.choose import choose
from slide_export.inference.served import in_form
graph = export(in_form(choose(fuse(load_checkpoint(sys.argv[1])), "wide_shifts"), ModelIO()))
print(hashlib.sha256(graph.proto.SerializeToString(deterministic=True)).hexdigest())
"""


def test_two_processes_write_the_same_bytes(checkpoint: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(checkpoint)]
    hashes = {subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(hashes) == 1


class Unfolding(nn.Module):
    """Local attention as the paper argues against it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.unfold(x, 3, padding=1).mean(dim=(1, 2))


class Windowing(nn.Module):
    """The same, by a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unfold(2, 3, 1).mean(dim=(1, 2, 3, 4))


class Operator(nn.Module):
    """The same, by the operator itself, which the exporter does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.im2col.default(x, [3, 3], [1, 1], [1, 1], [1, 1]).mean(dim=(1, 2))  # type: ignore[no-any-return]


class Folding(nn.Module):
    """Overlapping windows, added where they overlap."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.fold(x.flatten(2).repeat(1, 3, 1)[:, :9, :36], (8, 8), 3)


class Copying(nn.Module):
    """No Im2Col at all."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2) * 2


def exported(module: nn.Module) -> OnnxGraph:
    return onnx_graph.export_module(module.eval(), (torch.zeros(2, 3, 8, 8),), ("x",), ("y",))


@pytest.mark.parametrize("module", [Unfolding(), Windowing(), Operator(), Folding()])
def test_im2col_in_the_module_is_refused(module: nn.Module) -> None:
    with pytest.raises(ExportError, match="expected no Im2Col"):
        exported(module)


def test_a_module_without_im2col_is_exported() -> None:
    assert [node.op_type for node in exported(Copying()).proto.graph.node][-1] == "Mul"


def test_a_graph_over_2_gib_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST", 1000)
    with pytest.raises(ExportError, match="below 2 GiB"):
        onnx_graph.export(in_form(choose(fuse(model), "wide_shifts"), ModelIO()))


def test_the_checker_accepts_it_in_full(graph: OnnxGraph) -> None:
    onnx.checker.check_model(graph.proto, full_check=True)


def test_what_is_only_measured_may_unfold(model: Model) -> None:
    unfolding = im2col_swin.build(SMALL).eval()
    trained = replace(model, module=unfolding, family="im2col_swin")
    lowered = InferenceModel(unfolding, FusedModel(unfolding, trained), "")
    with pytest.raises(ExportError, match="expected no Im2Col in the model"):
        onnx_graph.export(in_form(lowered, ModelIO()))
    graph = onnx_graph.export(in_form(lowered, ModelIO()), ships=False)
    assert "Gather" in {node.op_type for node in graph.proto.graph.node}
    with pytest.raises(ExportError, match="without Im2Col"):
        Check()(to_ir(graph.proto))


def test_a_wrapper_and_a_model_that_both_hold_constants_stay_apart() -> None:
    """PVT's padding and the embedded preprocessing's scale are each the first constant of their module."""

    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * torch.tensor(3.0)

    class Wrapper(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = Scaled()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.module(x * torch.tensor(0.25))

    graph = onnx_graph.export_module(Wrapper(), (torch.zeros(2, 3, 4, 4),), ("images",), ("out",))
    session = onnxruntime.InferenceSession(graph.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": np.full((1, 3, 4, 4), 2, np.float32)})[0]
    assert found.tolist() == [[1.5, 1.5, 1.5]]
