"""A stored tensor is its source, rounded once, or it is named."""

import numpy as np
import pytest

from slide_export.core.errors import ParityError
from slide_export.core.float_build import FloatBuild, StoredReport
from slide_export.core.stored import StoredConstant, exact, rounded_float, stepped
from slide_export.proof import stored
from slide_export.proof.stored import compare

WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def full(name: str, values: object = WEIGHT) -> StoredConstant:
    return rounded_float(name, "float32", np.asarray(values, np.float32))


def half(name: str, values: object = WEIGHT) -> StoredConstant:
    return rounded_float(name, "float16", np.asarray(values, np.float32).astype(np.float16))


def eight(name: str) -> StoredConstant:
    scale = np.abs(WEIGHT).max(1, keepdims=True) / 127
    return stepped(name, "int8", np.round(WEIGHT / scale).astype(np.int8), scale, np.zeros(()))


@pytest.mark.parametrize(
    "found",
    [
        half("head.weight_half"),
        half("q_output_head.weight_1"),
        eight("head.weight_quantized"),
        half("module_head.weight", WEIGHT.reshape(1, 12)),
    ],
    ids=["behind", "around", "int8", "other shape"],
)
def test_what_is_rounded_once_is_its_source(found: StoredConstant) -> None:
    report = compare([full("head.weight"), full("head.weight2", WEIGHT + 1)], [found, half("head.weight2", WEIGHT + 1)])
    assert (report.passed, report.tensors, report.values) == (True, 2, 24)


def test_of_two_names_in_one_the_longer_is_its_source() -> None:
    report = compare(
        [full("head", WEIGHT + 1), full("head.weight")], [half("q_head.weight_half"), half("head", WEIGHT + 1)]
    )
    assert report.passed
    assert (
        stored._source("q_head.weight_half", {"head": full("head"), "head.weight": full("head.weight")})
        == "head.weight"
    )


def test_a_second_copy_equals_one_of_the_sources() -> None:
    """Neither has its name: one is the source's only counterpart, the other is another one of it."""
    sources = [full("a"), full("b", WEIGHT + 1)]
    report = compare(sources, [half("a"), half("b", WEIGHT + 1), half("2c26b46b68ffc68f"), half("fcde2b2edba56bf4")])
    assert (report.passed, report.tensors) == (True, 4)


@pytest.mark.parametrize("precision", ["half", "int8"])
def test_one_value_off_is_named_with_its_place(precision: str) -> None:
    source = WEIGHT.copy()
    source[2, 1] *= 1.02
    found = half("head.weight_half") if precision == "half" else eight("head.weight_quantized")
    fault = compare([full("head.weight", source)], [found]).faults[0] if precision == "half" else None
    if fault is None:
        source[2, 1] = WEIGHT[2, 1] + np.abs(WEIGHT[2]).max() / 127 * 1.1
        fault = compare([full("head.weight", source)], [found]).faults[0]
    assert (fault.name, fault.wrong, fault.values) == ("head.weight", 1, 12)
    assert "[2, 1] is" in fault.why
    assert fault.steps > 1


@pytest.mark.parametrize(("values", "passed"), [(WEIGHT, True), (WEIGHT * 1.01, False), (WEIGHT[:3], False)])
@pytest.mark.parametrize("name", ["mlp.3.bias0_quantized", "2c26b46b68ffc68f"])
def test_a_copy_has_the_values_of_a_source(name: str, values: object, passed: bool) -> None:
    report = compare([full("mlp.3.bias")], [half("mlp.3.bias"), half(name, values)])
    assert (report.passed, report.tensors) == (passed, 1 + passed)


@pytest.mark.parametrize(
    ("epsilon", "stored", "passed"),
    [
        (1e-12, 2.0**-24, True),
        (-1e-12, 2.0**-24, False),
        (1e-12, 2.0**-23, False),
        (1e-12, 0.0, True),  # rounded to the nearest
        (1e-5, 2.0**-24, False),
    ],
)
def test_an_epsilon_below_the_type_may_be_its_smallest_number(epsilon: float, stored: float, passed: bool) -> None:
    found = rounded_float("eps", "float16", np.asarray(stored, np.float16))
    assert compare([full("eps", epsilon)], [found]).passed == passed


def test_a_tensor_without_its_name_is_found_by_its_values() -> None:
    assert compare([full("head.weight")], [half("onnx::MatMul_7")]).passed


def test_what_is_missing_and_what_is_new_are_named() -> None:
    report = compare([full("head.weight")], [half("other", WEIGHT + 1)])
    assert [fault.name for fault in report.faults] == ["head.weight", "other"]


@pytest.mark.parametrize(("size", "faults"), [(1, 0), (2, 2)])
def test_a_scalar_may_be_a_precisions_own_and_two_values_may_not(size: int, faults: int) -> None:
    source, found = full("a.weight", np.ones(size)), half("b.weight", np.full(size, 2.0))
    assert len(compare([source], [found]).faults) == faults


def test_integers_without_a_counterpart_are_no_weights() -> None:
    assert compare([], [exact("axes", np.arange(4))]).passed


def test_a_value_may_be_off_by_what_rounding_does_and_no_more() -> None:
    """1536 in float16 has a step of 1: half of it, with the slack, is one step of what rounding can do."""
    values = np.full(4, 1536.0)
    for beyond, passed in ((0.5, True), (0.502, False)):
        assert compare([full("w", values + beyond)], [half("w", values)]).passed is passed


def test_faults_come_the_worst_first_and_count_their_values() -> None:
    near, far = WEIGHT.copy(), WEIGHT.copy()
    near[0, 0] *= 1.01
    far[:2, 0] *= 3
    sources = [full("near.weight"), full("far.weight")]
    first, second = compare(sources, [half("near.weight", near), half("far.weight", far)]).faults
    assert (first.name, first.wrong, second.name, second.wrong) == ("far.weight", 2, "near.weight", 1)
    assert first.steps > second.steps > 1


def test_a_tensor_found_by_its_values_is_taken_once() -> None:
    report = compare([full("a.weight"), full("b.weight")], [half("onnx::MatMul_7")])
    assert [fault.name for fault in report.faults] == ["b.weight"]
    assert report.tensors == 1


@pytest.mark.parametrize("value", [0.0, 3.0, np.inf, -np.inf])
def test_what_is_equal_is_equal_whatever_rounding_does(value: float) -> None:
    values = np.full(2, value)
    assert compare([exact("a", values)], [exact("a", values.copy())]).passed
    assert not compare([exact("a", values)], [exact("a", np.array([value, 7.0]))]).passed
    assert not compare([exact("a", values)], [exact("a", np.array([value, np.nan]))]).passed


@pytest.mark.parametrize(("source", "passed"), [(1.25, True), (1.26, False), (0.5, True), (0.49, False)])
def test_below_and_above_are_not_confused(source: float, passed: bool) -> None:
    """A step down is twice as long as one up, and the end of a step is still within it."""
    values = np.ones(2)
    tensor = StoredConstant("w", "float16", values, below=np.array(0.5), above=np.array(0.25))
    assert compare([full("w", [source, 1.0])], [tensor]).passed is passed


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("onnx::MatMul_7", "head", "onnx::MatMul_7 of head"),
        ("_v_7", "head", "_v_7 of head"),
        ("head.weight", "head", "head.weight"),
        ("onnx::MatMul_7", "", "onnx::MatMul_7"),
    ],
)
def test_a_number_is_told_with_its_module(name: str, module: str, expected: str) -> None:
    assert stored.label(exact(name, np.zeros(2), module)) == expected


def test_scalars_and_attributes_of_a_precision_are_its_own() -> None:
    scale = full("head.weight_scale_of_activations", 0.5)
    assert compare([full("head.weight")], [half("head.weight"), scale]).passed


def test_an_attribute_that_both_have_is_the_same() -> None:
    name = "/norm/LayerNormalization:LayerNormalization.epsilon"
    faults = compare([exact(name, np.array(1e-5))], [exact(name, np.array(1e-6))]).faults
    assert [fault.name for fault in faults] == [name]


def test_nan_is_no_value() -> None:
    assert not compare([full("head.weight")], [half("head.weight", WEIGHT * np.nan)]).passed


def build(*, passed: bool = True, report: StoredReport = StoredReport(1, 12)) -> FloatBuild:  # noqa: B008  # frozen
    return FloatBuild("a test", 8, 1e-6, 8e-6, passed, report)


def test_a_build_that_is_not_the_model_is_refused_and_so_is_another_value() -> None:
    stored.judge(None)
    stored.judge(build())
    with pytest.raises(ParityError, match=r"float32 build of the same graph within 8\.00e-06.* in any precision$"):
        stored.judge(build(passed=False))
    wrong = compare([full("head.weight")], [half("head.weight", WEIGHT * 2)])
    with pytest.raises(ParityError, match=r"12 of 12 of head\.weight otherwise: [^;]*; kept there$"):
        stored.judge(build(report=wrong), "; kept there")
    two = compare([full("head.weight"), full("w")], [half("head.weight", WEIGHT * 2), half("w", WEIGHT * 2)])
    with pytest.raises(ParityError, match=r"; 1 other tensors are off too$"):
        stored.judge(build(report=two))


def test_the_sentence_says_what_was_compared_and_what_was_not() -> None:
    assert build().sentence.endswith("of 1 stored tensors each is that build's, rounded once")
    skipped = build(report=StoredReport(0, 0, skipped="because")).sentence
    assert skipped.endswith("stored values are not compared: because")
