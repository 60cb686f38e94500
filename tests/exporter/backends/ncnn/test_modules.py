"""Layers are called after the modules that they come from."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.backends.ncnn.modules import Outputs, by_weights, given, is_activated, module_of, named, scopes
from slide_export.backends.ncnn.network import Layer
from slide_export.backends.ncnn.weights import Part, Tensor

CHAIN = tuple(
    Layer(kind, kind, (before,), (after,))
    for kind, before, after in (
        ("Gemm", "in0", "1"),
        ("Softmax", "1", "2"),
        ("Gemm", "2", "3"),
        ("BinaryOp", "3", "4"),
        ("LayerNorm", "4", "out0"),
    )
)
OWN = {0: "layers.0.attn.qkv", 2: "layers.0.attn.proj", 4: "layers.1.norm"}


def tensor(layer: int, *values: float) -> Tensor:
    return Tensor(layer, Part("weight", (len(values),)), "float32", np.array(values, np.float32))


def test_weights_tell_the_module_and_equal_ones_follow_each_other(tmp_path: Path) -> None:
    path, ones = tmp_path / "weights", np.ones(2, np.float32).tobytes()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (("a.weight", ones), ("b.c.weight", ones), ("d.weight", np.float32(3).tobytes())):
            file.writestr(f"wrapper.module.{name}", data)
    found = by_weights(path, (tensor(4, 1, 1), tensor(5, 3), tensor(7, 1, 1), tensor(8, 9)))
    assert found == {4: "a", 5: "d", 7: "b.c"}


def test_weights_that_pnnx_stored_once_more_are_of_the_module_that_is_called_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with zipfile.ZipFile(path, "w") as file:
        for name, value in (("wrapper.module.head", 3), ("pnnx_unique_0", 3), ("wrapper.module.next", 4)):
            file.writestr(f"{name}.weight", np.float32(value).tobytes())
    assert by_weights(path, (tensor(1, 3), tensor(2, 3), tensor(5, 4))) == {1: "head", 2: "head", 5: "next"}


def test_a_layer_between_two_modules_is_in_what_their_names_share() -> None:
    assert scopes(CHAIN, OWN) == [OWN[0], "layers.0.attn", OWN[2], "layers", OWN[4]]


def test_a_layer_at_the_end_is_beside_the_last_module() -> None:
    assert scopes(CHAIN, {0: "a.b"}) == ["a.b", "a", "a", "a", "a"]
    assert scopes(CHAIN, {}) == [""] * 5


def test_names_are_unlike_and_tell_the_module() -> None:
    found = named(CHAIN, {0: "a.b", 2: "a.b"}, {"in0": "images", "out0": "logits"})
    assert [layer.name for layer in found] == ["a.b/Gemm", "a/Softmax", "a.b/Gemm.1", "a/BinaryOp", "a/LayerNorm"]
    assert [module_of(layer) for layer in found] == ["a.b", "a", "a.b", "a", "a"]
    assert found[1].inputs == ("a.b/Gemm",)
    assert found[-1].outputs == ("logits",)


@pytest.mark.parametrize(
    ("kind", "parameters", "found"),
    [
        ("InnerProduct", {9: "1"}, True),
        ("InnerProduct", {9: "0"}, False),
        ("Convolution", {}, False),
        ("Gemm", {9: "8"}, False),
    ],
)
def test_an_activation_inside_a_layer_is_known(kind: str, parameters: dict[int, str], found: bool) -> None:
    assert is_activated(Layer(kind, kind, ("1",), ("2",), parameters)) is found


def test_outputs_of_modules_are_found_by_their_values() -> None:
    model = nn.Module()
    model.wrapper = nn.Module()
    model.wrapper.module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU()))
    model.forward = model.wrapper.module.forward  # type: ignore[method-assign]
    torch.manual_seed(0)
    image = torch.randn(1, 3, 2, 2)
    outputs = Outputs(given(model, (image,)))
    before = model.wrapper.module[0](image).detach().numpy()[0]
    after = np.maximum(before, 0)
    assert outputs.module(before) == "0"
    assert outputs.module(after) == "1.0"  # the innermost of the two that give it
    assert outputs.module(after.transpose(1, 2, 0)) is None
    assert outputs.module(before, but="0") is None
    assert outputs.module(after * 1.01) is None
    assert outputs.around("1.0", before) == ""  # another value of the size that both modules give: in neither
    assert outputs.around("1.0", before[:1]) == "1.0"


class Levels(nn.Module):
    """A convolution and a ReLU, each called on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first, second = self.act(self.conv(image)), self.act(self.conv(image[..., ::2, ::2]))
        return first.sum() + second.sum()


def test_outputs_of_every_call_are_known_of_a_module_with_weights() -> None:
    model = nn.Module()
    model.wrapper = nn.Module()
    model.wrapper.module = Levels()
    model.forward = model.wrapper.module.forward  # type: ignore[method-assign]
    torch.manual_seed(0)
    image = torch.randn(1, 3, 4, 4)
    found = given(model, (image,))
    assert [(name, value.shape[-1]) for name, value in found if name == "conv"] == [("conv", 4), ("conv", 2)]
    assert not any(name == "act" for name, _ in found)
    outputs = Outputs(found)
    convolved = [model.wrapper.module.conv(x).detach().numpy()[0] for x in (image, image[..., ::2, ::2])]
    assert [outputs.module(blob) for blob in convolved] == ["conv", "conv"]
    assert [outputs.around("conv", np.maximum(blob, 0)) for blob in convolved] == ["", ""]
