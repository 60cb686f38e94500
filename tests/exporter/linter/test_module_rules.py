"""Each rule: the smallest module that has the fault, and the smallest that has not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slide_export.linter.module_rules import RULES, lint_module
from slide_export.models.slide_attention import SlideAttention
from tests.exporter.linter.conftest import Named, RollBlock, UnfoldAttention, UpstreamSlideAttention

EXAMPLE = torch.zeros(1, 8, 8, 8)


class Do(nn.Module):
    """A function as a module, with a table to index."""

    def __init__(self, function: Callable[..., Any], *weights: Tensor) -> None:
        super().__init__()
        self.function = function
        for number, weight in enumerate(weights):
            self.register_buffer(f"weight{number}", weight)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *(weight for _, weight in self.named_buffers()))


def view(rank: int, middle: Callable[[Tensor], Tensor]) -> nn.Module:
    shape = [-1] + [1] * (rank - 4) + [8, 8, 8]
    return Do(lambda x: middle(x.reshape(shape)).reshape(-1, 512))


def turn(x: Tensor) -> Tensor:
    return x.transpose(-1, -2)


ROWS = torch.tensor([0, 3, 1])
TABLE, INDEX = torch.zeros(5, 8), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
RELU = nn.ReLU()
CASES: dict[tuple[str, str], tuple[nn.Module, nn.Module]] = {
    # (rule, target): with the fault, without
    ("rank", "coreml"): (view(6, torch.relu), view(5, torch.relu)),
    ("rank", "tensorrt"): (view(9, torch.relu), view(8, torch.relu)),
    ("rank-view", "coreml"): (view(6, turn), view(5, turn)),
    ("im2col", "openvino"): (nn.Unfold(3), nn.Conv2d(8, 8, 3)),
    ("gather", "onnx"): (Do(lambda x, rows: x[:, :, rows], ROWS), Do(lambda x: x[:, :, :3])),
    ("scatter", "onnx"): (Do(lambda x, rows: x.index_add(2, rows, x[:, :, :3]), ROWS), RELU),
    ("gather-constant", "onnx"): (
        Do(lambda x, table, index: x + table[index], TABLE, INDEX),
        Do(lambda x, table: x + table, torch.zeros(8, 8)),
    ),
    ("roll", "coreml"): (Do(lambda x: x.roll(1, 2)), Do(lambda x: torch.cat((x[:, :, 7:], x[:, :, :7]), 2))),
    ("roll", "onnx"): (Do(lambda x: x.roll(1, 2)), RELU),
    ("multiplier", "onnx"): (nn.Conv2d(8, 72, 3, groups=8), nn.Conv2d(8, 8, 3, groups=8)),
    ("multiplier", "tensorrt"): (nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(8, 16, 3, groups=4)),
    ("multiplier", "coreml"): (nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(8, 16, 3)),
    ("batch-baked", "onnx"): (Do(lambda x: x.reshape(2, 8, 64)), Do(lambda x: x.reshape(x.shape[0], 8, 64))),
    ("untraceable", "onnx"): (Do(lambda x: type("Box", (), {"x": x})()), RELU),
    ("dtype-complex", "onnx"): (Do(lambda x: torch.fft.fft2(x).abs()), RELU),
    ("dtype-bfloat16", "coreml"): (Do(lambda x: x.bfloat16()), Do(lambda x: x.half())),
    ("dtype-double", "openvino"): (Do(lambda x, w: x + w, torch.zeros(8, 8, dtype=torch.float64)), RELU),
    ("dtype-int64", "coreml"): (Do(lambda x: x.argmax(1)), Do(lambda x: x.amax(1))),
    ("data-dependent", "onnx"): (Do(lambda x: x.reshape(x.shape[0], -1) * (x.nonzero().shape[0] + 1)), RELU),
    ("train-time-form", "onnx"): (nn.Sequential(SlideAttention(8, 2)), nn.Sequential(nn.Conv2d(8, 8, 1))),
}


def ids(module: nn.Module, target: str) -> set[str]:
    return {finding.rule for finding in lint_module(module.eval(), EXAMPLE, (target,))}


def modules(module: nn.Module, rule: str, target: str = "coreml", example: Tensor = EXAMPLE) -> set[str]:
    return {f.module for f in lint_module(module.eval(), example, (target,)) if f.rule == rule}


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_rule_finds_its_fault_and_nothing_without_it(case: tuple[str, str]) -> None:
    rule, target = case
    faulty, sound = CASES[case]
    assert rule in ids(faulty, target)
    assert rule not in ids(sound, target)


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} == {rule for rule, _ in CASES}


def test_a_plain_module_has_no_finding() -> None:
    assert lint_module(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), EXAMPLE) == ()


def test_upstreams_rank_6_is_an_error_in_its_module() -> None:
    assert modules(Named(UpstreamSlideAttention()), "rank") == {"layers.0.attn"}
    assert modules(Named(UpstreamSlideAttention()), "multiplier") == {
        "layers.0.attn.dep_conv",
        "layers.0.attn.dep_conv1",
    }


@pytest.mark.parametrize("target", ["coreml", "onnx", "openvino", "tensorrt"])
def test_an_unfold_is_an_error_in_its_module_on_every_target(target: str) -> None:
    findings = lint_module(Named(UnfoldAttention()), EXAMPLE, (target,))
    assert [(f.severity, f.module) for f in findings if f.rule == "im2col"] == [("error", "layers.0.attn.unfold")]


@pytest.mark.parametrize("rule", ["roll", "rank-view", "batch-baked"])
def test_a_rolled_swin_names_its_module(rule: str) -> None:
    assert modules(Named(RollBlock()), rule) == {"layers.0.attn"}


def test_a_batch_that_fails_outside_a_trace_names_its_module() -> None:
    assert modules(Named(CASES["batch-baked", "onnx"][0]), "batch-baked") == {"layers.0.attn"}


def test_calls_of_one_module_are_one_finding() -> None:
    (finding,) = (f for f in lint_module(RollBlock(), EXAMPLE, ("coreml",)) if f.rule == "roll")
    assert finding.found == "aten.roll of [2, 8, 8, 8] (and 1 more here)"


def test_the_fused_form_is_no_train_time_form() -> None:
    fused = SlideAttention(8, 2).fuse()
    assert "train-time-form" not in ids(fused, "onnx")


def test_a_module_that_says_it_is_fused_is_believed() -> None:
    block = Do(torch.relu)
    block.fuse, block.deploy = lambda: None, True  # type: ignore[assignment]
    assert modules(block, "train-time-form") == set()
    block.deploy = False  # type: ignore[assignment]
    assert modules(block, "train-time-form") == {""}


def test_the_module_keeps_no_hook() -> None:
    module = nn.Sequential(nn.ReLU())
    lint_module(module, EXAMPLE)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.id}-{rule.severity}")
def test_every_rule_says_what_to_do_and_who_says_so(rule: Any) -> None:
    assert rule.fix
    assert rule.source
    assert "http" not in rule.source
