"""What a module is seen to do: its operators under their modules, what depends on the input, and batches baked in."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slide_export.linter.module_trace import OTHER, TRACED, Call, Observation, observe
from tests.exporter.linter.conftest import Named, RollBlock
from tests.exporter.linter.test_module_rules import Do

EXAMPLE = torch.zeros(1, 4, 8, 8)


def seen(function: Callable[..., object], *weights: Tensor) -> Observation:
    return observe(Do(function, *weights).eval(), EXAMPLE)


def calls(found: Observation, name: str) -> list[Call]:
    return [call for call in found.calls if call.name == name]


def test_an_operator_has_its_module_shapes_and_arguments() -> None:
    (found,) = calls(observe(Named(Do(lambda x: x.roll(1, 2))), EXAMPLE), "aten.roll")
    assert (found.op, found.module) == ("aten.roll.default", "layers.0.attn")
    assert [spec.shape for spec in (*found.inputs, *found.outputs)] == [(TRACED, 4, 8, 8)] * 2
    assert found.arguments == ([1], [2])


def test_what_depends_on_the_input_is_told_from_weights() -> None:
    found = seen(lambda x, table: x + (table + 1).relu(), torch.ones(8))
    assert [call.live for call in calls(found, "aten.relu")] == [False]
    weights, sums = calls(found, "aten.add")
    assert (weights.live, sums.live) == (False, True)
    assert [spec.live for spec in sums.inputs] == [True, False]
    assert sums.outputs[0].live


def test_a_module_that_calls_another_has_the_calls_after_it_again() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).abs()

    found = observe(Outer(), EXAMPLE)
    assert [(call.name, call.module) for call in found.calls] == [("aten.relu", "inner"), ("aten.abs", "")]


@pytest.mark.parametrize(
    ("function", "sound"),
    [
        (lambda x: x.reshape(x.shape[0], -1), True),
        (lambda x: x.reshape(-1, 256), True),
        (lambda x: x.reshape(TRACED, -1), False),
        (lambda x: x.reshape(int(x.shape[0] * 4), 64), False),
        (lambda x: x.reshape(-1, 4, 64)[:TRACED], False),
        (lambda x: x.expand(3, *x.shape).sum(0), True),  # 3 is no multiple of the traced batch
    ],
    ids=["its batch", "free", "a number", "an int of it", "cut off", "another axis"],
)
def test_another_batch_fails_where_the_first_is_a_constant(function: Callable[..., object], sound: bool) -> None:
    found = seen(function)
    assert (found.baked == ()) == sound
    assert found.untraceable is None


def test_a_baked_batch_is_found_in_its_module_with_the_size() -> None:
    found = observe(Named(RollBlock()), torch.zeros(1, 8, 8, 8))
    assert {module for module, _ in found.baked} == {"layers.0.attn"}
    assert all(f"the constant first size {TRACED}" in what or "first size" in what for _, what in found.baked)


def test_a_module_that_fails_at_another_batch_says_where() -> None:
    found = seen(lambda x: x.reshape(TRACED, 4, 64))
    ((module, what),) = found.baked
    assert module == ""
    assert f"fails at batch {OTHER}" in what


def test_a_module_that_cannot_be_traced_says_why() -> None:
    found = seen(lambda x: type("Box", (), {"x": x})())
    assert found.baked == ()
    assert found.untraceable


def test_a_module_that_fails_at_once_fails() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        seen(lambda x: x.reshape(7, 7, 7))


def test_the_module_and_its_example_are_left_as_they_were() -> None:
    module, example = nn.Sequential(nn.BatchNorm2d(4)).eval(), EXAMPLE.clone()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    observe(module, example)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(example, EXAMPLE)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())
