"""Each rule on a saved package: the smallest program that has the fault, and the smallest that has not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.backends.coreml.ane import RULES, TIER_1, TIER_2, TIER_3, lint_package
from slide_export.mil import Package
from tests.exporter.linter.conftest import (
    Named,
    RollBlock,
    Saver,
    UpstreamSlideAttention,
    convert_module,
    traced_module,
)

Body = Callable[[Any, Any], Any]
SHAPE = (1, 64, 32, 32)


def program(body: Body, shape: Sequence[Any] = SHAPE, dtype: str = "fp16", opset: str = "iOS17") -> Any:
    """The MIL program y = body(builder, x)."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder, types

    spec = Builder.TensorSpec(shape=shape, dtype=getattr(types, dtype))

    @Builder.program(input_specs=[spec], opset_version=getattr(ct.target, opset))
    def built(x: Any) -> Any:
        return Builder.identity(x=body(Builder, x), name="y")

    return built


def relu(mb: Any, x: Any) -> Any:
    return mb.relu(x=x)


def kernel(outputs: int, per_group: int, *size: int) -> Any:
    return np.ones((outputs, per_group, *size), np.float16)


def conv(weight: Any, **options: Any) -> Body:
    return lambda mb, x: mb.conv(x=x, weight=weight, **options)


def added(value: float, dtype: Any = np.float32) -> Body:
    return lambda mb, x: mb.add(x=mb.relu(x=x), y=dtype(value))


HALF = np.float16
SCALE = np.ones(32, np.float16)
Case = tuple[Body, tuple[Any, ...], Body, tuple[Any, ...]]
CASES: dict[str, Case] = {
    # rule: body and input with the fault, body and input without
    "extent": (relu, (1, 1, 1, 16385), relu, (1, 1, 1, 16384)),
    "no-path": (lambda mb, x: mb.asin(x=x), SHAPE, lambda mb, x: mb.atan(x=x), SHAPE),
    "kernel": (conv(kernel(64, 64, 1, 15)), SHAPE, conv(kernel(64, 64, 1, 13)), SHAPE),
    "constant": (added(-np.inf, HALF), SHAPE, added(-40000, HALF), SHAPE),
    "gather": (
        lambda mb, x: mb.gather(x=x, indices=np.array([1, 0], np.uint16), axis=1),
        SHAPE,
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 0, 0], size=[1, 2, 32, 32]),
        SHAPE,
    ),
    "multiplier": (
        conv(kernel(576, 1, 3, 3), groups=64),
        SHAPE,
        conv(kernel(64, 1, 3, 3), groups=64),
        SHAPE,
    ),
    "pad": (
        lambda mb, x: mb.pad(x=x, pad=[0, 0, 1, 1], mode="reflect"),
        SHAPE,
        lambda mb, x: mb.pad(x=x, pad=[0, 0, 1, 1], mode="constant", constant_val=HALF(0)),
        SHAPE,
    ),
    "resize": (
        lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2.0, scale_factor_width=2.0),
        SHAPE,
        relu,
        SHAPE,
    ),
    "conv1d": (
        conv(kernel(8, 4, 12), strides=[6]),
        (1, 4, 18001),
        conv(kernel(8, 4, 12), strides=[2]),
        (1, 4, 18001),
    ),
    "arg-reduce": (
        lambda mb, x: mb.cast(x=mb.reduce_argmax(x=x, axis=3), dtype="fp16"),
        (1, 1, 1, 2049),
        lambda mb, x: mb.cast(x=mb.reduce_argmax(x=x, axis=3), dtype="fp16"),
        (1, 1, 1, 2048),
    ),
    "slice-offset": (
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 0, 0, 1], end=[1, 64, 32, 32]),
        SHAPE,
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 1, 0, 0], end=[1, 64, 32, 32]),
        SHAPE,
    ),
    "narrow-axis": (relu, (1, 64, 32, 31), relu, SHAPE),
    "alignment": (relu, (1, 64, 32, 33), relu, SHAPE),
    "linear": (lambda mb, x: mb.linear(x=x, weight=np.ones((32, 32), HALF)), SHAPE, relu, SHAPE),
    "softmax": (lambda mb, x: mb.softmax(x=x, axis=-1), SHAPE, lambda mb, x: mb.softmax(x=x, axis=1), SHAPE),
    "stream": (relu, (1, 64, 128, 160), relu, (1, 64, 128, 128)),
    "stride": (
        conv(kernel(8, 64, 1, 1), strides=[5, 5]),
        SHAPE,
        conv(kernel(8, 64, 1, 1), strides=[6, 4]),
        SHAPE,
    ),
    "pool-stride": (
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[3, 3], pad_type="valid"),
        SHAPE,
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="valid"),
        SHAPE,
    ),
    "batch": (relu, (2, 64, 32, 32), relu, SHAPE),
    "recurrent": (
        lambda mb, x: mb.gru(
            x=x,
            initial_h=np.zeros((1, 4), HALF),
            weight_ih=np.ones((12, 32), HALF),
            weight_hh=np.ones((12, 4), HALF),
        )[0],
        (3, 1, 32),
        relu,
        (3, 1, 32),
    ),
}
ELSEWHERE = {"rank", "precision", "interface", "range", "enumerated-norm", "groups", "epsilon", "palette-stride"}


def ids(package: Package) -> set[str]:
    return {finding.rule.removeprefix("ane-") for finding in lint_package(package)}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_its_fault(rule: str, save: Saver) -> None:
    body, shape, _, _ = CASES[rule]
    assert rule in ids(save(program(body, shape)))


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_nothing_without_it(rule: str, save: Saver) -> None:
    _, _, body, shape = CASES[rule]
    assert rule not in ids(save(program(body, shape)))


def test_every_rule_has_a_case() -> None:
    assert {rule.id.removeprefix("ane-") for rule in RULES} == CASES.keys() | ELSEWHERE


def test_float32_is_one_error_for_the_program_and_one_for_each_feature(save: Saver) -> None:
    package = save(program(relu, dtype="fp32"), "fp32")
    found = [(f.rule, f.module, f.found) for f in lint_package(package) if f.severity == "error"]
    assert found == [
        ("ane-precision", "", "2 of 2 results are fp32"),
        ("ane-interface", "", "input x is fp32 (and 1 more here)"),
    ]
    assert not {"precision", "interface"} & ids(save(program(relu)))


def test_a_range_is_an_error_and_an_enumeration_is_not(save: Saver) -> None:
    import coremltools as ct

    traced = traced_module(nn.ReLU(), SHAPE)
    ranged = ct.TensorType(shape=(1, 64, ct.RangeDim(32, 64, 32), 32), dtype=HALF)
    assert "range" in ids(save(traced, inputs=[ranged]))
    listed = ct.EnumeratedShapes([SHAPE, (1, 64, 64, 32)])
    assert not {"range", "enumerated-norm"} & ids(save(traced, inputs=[ct.TensorType(shape=listed, dtype=HALF)]))


def test_a_norm_with_enumerated_shapes_is_an_error(save: Saver) -> None:
    import coremltools as ct

    traced = traced_module(nn.LayerNorm(32), SHAPE)
    listed = ct.EnumeratedShapes([SHAPE, (1, 64, 64, 32)])
    assert "enumerated-norm" in ids(save(traced, inputs=[ct.TensorType(shape=listed, dtype=HALF)]))
    assert "enumerated-norm" not in ids(save(traced, inputs=[ct.TensorType(shape=SHAPE, dtype=HALF)]))


@pytest.mark.parametrize(("eps", "found"), [(1e-9, True), (1e-5, False)])
def test_an_epsilon_that_float16_rounds_to_zero(eps: float, found: bool, save: Saver) -> None:
    package = save(program(lambda mb, x: mb.layer_norm(x=x, axes=[3], epsilon=eps), dtype="fp32"), "fp32")
    assert ("epsilon" in ids(package)) is found
    package = save(program(added(eps), dtype="fp32"), "fp32")
    assert ("epsilon" in ids(package)) is found


def altered(package: Package, monkeypatch: pytest.MonkeyPatch, method: str, value: Any) -> set[str]:
    """The rules broken if the program said something that coremltools refuses to write."""
    from slide_export.backends.coreml.ane import checks as ane_checks

    monkeypatch.setattr(ane_checks, method, value)
    return ids(package)


def test_groups_that_do_not_divide(save: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    package = save(program(conv(kernel(64, 32, 3, 3), groups=2)))
    assert "groups" not in ids(package)
    assert "groups" in altered(package, monkeypatch, "_groups", lambda *_: 3)


def test_rank_6(save: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    package = save(program(relu))
    assert "rank" not in ids(package)
    assert "rank" in altered(package, monkeypatch, "MAX_RANK", 3)


@pytest.mark.parametrize(("stride", "found"), [(4, True), (2, False)])
def test_palettized_strides(stride: int, found: bool, save: Saver) -> None:
    def body(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_lut_to_dense(
            indices=np.zeros(8 * 64 * 16 // 8, np.uint8),
            lut=np.ones(2, HALF),
            shape=np.array([8, 64, 4, 4], np.uint32),
        )
        return mb.conv(x=x, weight=weight, strides=[stride] * 2)

    assert ("palette-stride" in ids(save(program(body, opset="iOS16")))) is found


def test_a_roll_is_a_gather_in_its_module(tmp_path: Path) -> None:
    package = convert_module(Named(RollBlock(32)), (1, 8, 8, 32), tmp_path / "model.mlpackage")
    found = {f.module: f for f in lint_package(package) if f.rule == "ane-gather"}
    assert set(found) == {"layers.0.attn"}
    assert not any(f.confirmed for f in found.values())


def test_a_multiplier_is_named_in_its_module(tmp_path: Path) -> None:
    class Merged(UpstreamSlideAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.qkv(x).reshape(-1, self.dim // self.heads, *x.shape[2:])
            return self.dep_conv(maps) + self.dep_conv1(maps)

    package = convert_module(Named(Merged(64)), SHAPE, tmp_path / "model.mlpackage")
    assert {f.module for f in lint_package(package) if f.rule == "ane-multiplier"} == {
        "layers.0.attn.dep_conv",
        "layers.0.attn.dep_conv1",
    }


def test_tiers_are_errors_warnings_and_unconfirmed_hints() -> None:
    assert {rule.severity for rule in TIER_1} == {"error"}
    assert {(rule.severity, rule.confirmed) for rule in TIER_2} == {("warning", False)}
    assert {(rule.severity, rule.confirmed) for rule in TIER_3} == {("hint", False)}


def test_no_rule_claims_a_placement() -> None:
    for rule in RULES:
        assert rule.source
        assert "http" not in rule.source
        assert "runs on the" not in rule.fix
