"""What a recipe quantizes is said by module names, in a real exported graph."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from slide_export.calibration.layer_selection import in_modules, layers, selected
from slide_export.calibration.recipe import default
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form


@pytest.fixture(scope="module")
def proto(model: Model) -> onnx.ModelProto:
    return onnx_graph.export(in_form(choose(fuse(model), "grouped"), ModelIO())).proto


def test_a_node_is_in_its_module_and_in_those_around_it() -> None:
    node = onnx.NodeProto(name="/layers.1/blocks.0/attn/qkv/Gemm_2")
    assert all(in_modules(node.name, [pattern]) for pattern in ("layers.1", "layers.*.blocks.0.attn", "*.qkv"))
    assert not in_modules(node.name, ["layers.0", "layers.1.blocks.0.attn.qkv.Gemm_2"])
    assert not in_modules("MatMul", ["layers.1"])


def test_layers_are_the_models_own(proto: onnx.ModelProto, model: Model) -> None:
    found = layers(proto)
    linear = {name for name, module in model.module.named_modules() if type(module).__name__ == "Linear"}
    assert {module for module, kind in found.values() if kind == "linear"} == linear
    assert {module for module, kind in found.values() if kind == "convolution"} == {"patch_embed.proj"}
    assert all(".attn." in module for module, kind in found.values() if kind == "depthwise")
    assert sum(kind == "depthwise" for _, kind in found.values()) == 6  # keys and values of three slide blocks


def test_a_stack_of_matrices_is_no_layer() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 4, 5])
    weights = {"table": (3, 5, 2), "weight": (5, 2)}
    constants = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    nodes = [onnx.helper.make_node("MatMul", ["x", name], [f"by_{name}"], f"/attn/{name}/MatMul") for name in weights]
    proto = onnx.helper.make_model(onnx.helper.make_graph(nodes, "two", [x], [], constants))
    assert layers(proto) == {"/attn/weight/MatMul": ("attn.weight", "linear")}


def test_products_and_slide_convolutions_stay_in_float(proto: onnx.ModelProto) -> None:
    names = selected(layers(proto), default("onnx", "int8"))
    operations = {node.name: node for node in proto.graph.node}
    assert len(names) == 29
    weights = {tensor.name for tensor in proto.graph.initializer}
    assert all(operations[name].input[1] in weights for name in names)
    assert not any("/attn/keys" in name or "/attn/values" in name for name in names)


def test_kept_modules_are_left_out(proto: onnx.ModelProto) -> None:
    recipe = replace(default("onnx", "int8"), keep_fp32=("layers.1", "head"))
    names = selected(layers(proto), recipe)
    assert not any(name.startswith(("/layers.1/", "/head/")) for name in names)
    assert len(names) == 29 - 10


class Shared(nn.Module):
    """A head on two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.last = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.last(self.head(one)).flatten(2) for one in (x, x[:, :, ::2])], dim=2)


def test_a_kept_module_is_left_out_at_each_of_its_calls() -> None:
    made = onnx_graph.export_module(Shared().eval(), (torch.ones(2, 3, 4, 4),), ["x"], ["y"])
    found = layers(made.proto)
    assert [module for module, _ in found.values()] == ["head.0", "last", "head.0", "last"]
    names = selected(found, replace(default("onnx", "int8"), keep_fp32=("last",)))
    assert [found[name][0] for name in names] == ["head.0", "head.0"]


def test_an_unknown_module_and_an_empty_scope_are_refused(proto: onnx.ModelProto) -> None:
    with pytest.raises(
        RequestError, match=r"found 'layers\.0\.blocks\.0\.attn\.qvk': one is 'layers\.0\.blocks\.0\.attn\.qkv'"
    ):
        selected(layers(proto), replace(default("onnx", "int8"), keep_fp32=("layers.0.blocks.0.attn.qvk",)))
    with pytest.raises(RequestError, match="keeps every layer in float"):
        selected(layers(proto), replace(default("onnx", "int8"), keep_fp32=("*",)))
