"""Each rewrite leaves the function as it was, and a case just beside it alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from slide_export.backends.executorch.rewrite import module_of, rewrite
from slide_export.core.errors import LoweringError

aten = torch.ops.aten


class Called(nn.Module):
    """A function of some tensors, with a linear layer that it may use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function, self.linear, self.norm = function, nn.Linear(6, 8), nn.LayerNorm(6)

    def forward(self, *tensors: Tensor) -> Any:
        """Call it."""
        return self.function(self, *tensors)


def targets(function: Callable[..., Any], *tensors: Tensor, half: bool = False) -> list[Any]:
    """Operators after the rewrite of a traced function, which computes what it did before."""
    torch.manual_seed(0)
    module = Called(function)
    module = module.half() if half else module
    traced: GraphModule = torch.export.export(module, tensors).module()  # type: ignore[assignment]
    with torch.no_grad():
        before = traced(*tensors)
        rewrite(traced)
        after = traced(*tensors)
    for one, other in zip(*(found if isinstance(found, tuple) else (found,) for found in (before, after)), strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, atol=1e-2 if half else 1e-6)
    return [node.target for node in traced.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (2, 3, 5, 6)), ((3, 4, 5), (3, 5, 6))])
def test_a_product_of_equal_leading_axes_is_one_of_three(shapes: tuple[tuple[int, ...], ...]) -> None:
    found = targets(lambda _self, a, b: a @ b, *(torch.randn(shape) for shape in shapes))
    assert aten.bmm.default in found
    assert aten.matmul.default not in found


def test_what_two_products_take_is_viewed_once() -> None:
    queries, keys, others = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    found = targets(lambda _self, q, a, b: (q @ a, q @ b), queries, keys, others)
    assert found.count(aten.bmm.default) == 2
    assert found.count(aten.reshape.default) == 3 + 2  # of three operands and two results


@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (1, 3, 5, 6)), ((2, 3, 4, 5), (5, 6)), ((4, 5), (5, 6))])
def test_any_other_product_stays(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert aten.matmul.default in targets(lambda _self, a, b: a @ b, *(torch.randn(shape) for shape in shapes))


@pytest.mark.parametrize(
    "part", [lambda x: x.split(4, dim=-1), lambda x: x.chunk(2, dim=-1), lambda x: x.split([3, 5], -1)]
)
def test_parts_of_a_linear_layer_are_linear_layers(part: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    found = targets(lambda self, x: part(self.linear(x)), torch.randn(2, 6))
    assert found.count(aten.linear.default) == 2
    assert aten.slice.Tensor not in found


@pytest.mark.parametrize(
    "function",
    [
        lambda _self, x: x.split(3, dim=-1),  # of no layer
        lambda self, x: self.linear(x).split(1, dim=0),  # along no channels
        lambda self, x: (*(y := self.linear(x)).split(4, dim=-1), y),  # the whole is wanted too
    ],
)
def test_any_other_parts_are_slices(function: Callable[..., Any]) -> None:
    found = targets(function, torch.randn(2, 6))
    assert found.count(aten.slice.Tensor) == 2
    assert not {aten.split.Tensor, aten.chunk.default} & set(found)


@pytest.mark.parametrize(("half", "casts"), [(True, 2), (False, 0)])
def test_a_norm_in_half_is_computed_in_float32(half: bool, casts: int) -> None:
    x = torch.randn(2, 6, dtype=torch.float16 if half else torch.float32)
    found = targets(lambda self, x: self.norm(x), x, half=half)
    assert found.count(aten.to.dtype) == casts


@pytest.mark.parametrize(("approximate", "refused"), [("none", False), ("tanh", True)])
def test_the_approximate_gelu_is_refused(approximate: str, refused: bool) -> None:
    def function(_self: nn.Module, x: Tensor) -> Tensor:
        return nn.functional.gelu(x, approximate=approximate)

    if refused:
        with pytest.raises(LoweringError, match="found its approximation by tanh in the model"):
            targets(function, torch.randn(2, 6))
    else:
        assert targets(function, torch.randn(2, 6)) == [aten.gelu.default]


def test_a_weight_that_nobody_takes_any_more_is_dropped() -> None:
    traced: Any = torch.export.export(
        Called(lambda self, x: self.linear(x).chunk(2, dim=-1)), (torch.randn(2, 6),)
    ).module()
    rewrite(traced)
    assert not [name for name, _ in traced.named_parameters() if name in ("linear.weight", "norm.weight")]


@pytest.mark.parametrize(
    ("stack", "module"),
    [
        ({}, ""),
        ({"a": ("wrapper.module.layers.0.attn", "x")}, "layers.0.attn"),
        ({"a": ("wrapper.module.layers.0", "x"), "b": ("wrapper.module.layers.0.mlp", "x")}, "layers.0.mlp"),
        ({"a": ("wrapper", "x")}, ""),
    ],
)
def test_a_node_is_of_the_innermost_module(stack: dict[str, Any], module: str) -> None:
    node = torch.fx.Graph().placeholder("x")
    node.meta["nn_module_stack"] = stack
    assert module_of(node) == module
