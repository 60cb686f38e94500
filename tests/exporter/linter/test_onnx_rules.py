"""Each rule: the smallest graph that has the fault, and the smallest that has not."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from slide_export.linter.onnx_rules import lint_onnx, rules

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def graph(
    *nodes: onnx.NodeProto,
    shape: Any = ("batch", 4, 8, 8),
    dtype: int = FLOAT,
    opset: int = 17,
    **constants: Any,
) -> onnx.ModelProto:
    """A model from x to y."""
    weights = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x, y = helper.make_tensor_value_info("x", dtype, shape), helper.make_empty_tensor_value_info("y")
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets)


def slices(*ranges: tuple[int, int], axis: int = 2) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A Slice of x for each range, s0, s1, ..., and their constants."""
    constants: dict[str, Any] = {"axis": np.array([axis])}
    nodes = []
    for number, (start, end) in enumerate(ranges):
        constants |= {f"a{number}": np.array([start]), f"b{number}": np.array([end])}
        nodes.append(node("Slice", ["x", f"a{number}", f"b{number}", "axis"], [f"s{number}"]))
    return nodes, constants


def rolled(*ranges: tuple[int, int]) -> onnx.ModelProto:
    nodes, constants = slices(*ranges)
    return graph(*nodes, node("Concat", [f"s{n}" for n in range(len(ranges))], ["y"], axis=2), **constants)


def stacked(*ranges: tuple[int, int]) -> onnx.ModelProto:
    nodes, constants = slices(*ranges)
    names = [f"u{n}" for n in range(len(ranges))]
    nodes += [node("Unsqueeze", [f"s{n}", "last"], [name]) for n, name in enumerate(names)]
    return graph(*nodes, node("Concat", names, ["y"], axis=4), **constants, last=np.array([4]))


def gather(index: Any, axis: int = 2) -> onnx.ModelProto:
    return graph(node("Gather", ["x", "index"], ["y"], axis=axis), index=np.array(index))


def conv(channels: int, outputs: int, groups: int) -> onnx.ModelProto:
    weight = np.zeros((outputs, channels // groups, 3, 3), np.float32)
    shape = ("batch", channels, 8, 8)
    return graph(node("Conv", ["x", "w"], ["y"], group=groups, pads=[1] * 4), shape=shape, w=weight)


def reshape(*size: int, shape: Any = ("batch", 4, 8, 8)) -> onnx.ModelProto:
    return graph(node("Reshape", ["x", "size"], ["y"]), shape=shape, size=np.array(size))


def view(rank: int, middle: str = "Transpose") -> onnx.ModelProto:
    """Reshape, one operator and reshape, the middle at a rank."""
    size = [-1] + [1] * (rank - 4) + [4, 8, 8]
    between = {"perm": [0, *range(rank - 1, 0, -1)]} if middle == "Transpose" else {}
    return graph(
        node("Reshape", ["x", "up"], ["r"]),
        node(middle, ["r"], ["t"], **between),
        node("Reshape", ["t", "down"], ["y"]),
        up=np.array(size),
        down=np.array([-1, 256]),
    )


RELU = graph(node("Relu", ["x"], ["y"]))
OWN = graph(node("SlideAttention", ["x"], ["y"], domain="slide_export"))
BODY = helper.make_graph([node("Relu", ["x"], ["z"])], "body", [], [helper.make_empty_tensor_value_info("z")])
CASES: dict[tuple[str, str], tuple[onnx.ModelProto, onnx.ModelProto]] = {
    # (rule, target): with the fault, without
    ("rank", "coreml"): (view(6, "Relu"), view(5, "Relu")),
    ("rank", "tensorrt"): (view(9, "Relu"), view(8, "Relu")),
    ("rank-view", "coreml"): (view(6), view(5)),
    ("im2col", "openvino"): (gather([[0, 1, 2], [1, 2, 3]]), gather([0, 1, 3])),
    ("unfold-slices", "onnx"): (stacked((0, 6), (1, 7), (2, 8)), stacked((0, 2), (2, 4), (4, 6))),
    ("gather", "openvino"): (gather([0, 2, 1]), gather(1)),
    ("roll", "coreml"): (gather([3, 4, 5, 6, 7, 0, 1, 2]), gather([0, 1, 2, 3, 4, 5, 6, 7])),
    ("roll-slices", "coreml"): (rolled((3, 2**62), (0, 3)), rolled((0, 3), (3, 2**62))),
    ("select", "onnx"): (gather(1, axis=1), gather([1, 2], axis=1)),
    ("gather-constant", "onnx"): (
        graph(
            node("Gather", ["table", "index"], ["bias"]),
            node("Add", ["x", "bias"], ["y"]),
            table=np.zeros((5, 8), np.float32),
            index=np.array([0, 1, 2, 3, 4, 0, 1, 2]),
        ),
        graph(node("Add", ["x", "bias"], ["y"]), bias=np.zeros((8, 8), np.float32)),
    ),
    ("multiplier", "onnx"): (conv(4, 36, 4), conv(4, 4, 4)),
    ("multiplier", "tensorrt"): (conv(4, 8, 4), conv(4, 8, 2)),
    ("multiplier", "coreml"): (conv(4, 8, 4), conv(4, 8, 1)),
    ("batch-fixed", "onnx"): (graph(node("Relu", ["x"], ["y"]), shape=(1, 4, 8, 8)), RELU),
    ("batch-baked", "tensorrt"): (reshape(2, 4, 64), reshape(-1, 4, 64)),
    ("dtype-none", "onnx"): (graph(node("Identity", ["x"], ["y"]), dtype=TensorProto.STRING), RELU),
    ("dtype-bfloat16", "onnx"): (graph(node("Relu", ["x"], ["y"]), dtype=TensorProto.BFLOAT16), RELU),
    ("dtype-double", "tensorrt"): (graph(node("Relu", ["x"], ["y"]), dtype=TensorProto.DOUBLE), RELU),
    ("dtype-int64", "coreml"): (graph(node("Cast", ["x"], ["y"], to=INT64)), RELU),
    ("dtype-int64", "tensorrt"): (graph(node("Abs", ["x"], ["y"]), dtype=INT64), RELU),
    ("dtype-uint8", "tensorrt"): (
        graph(node("Cast", ["x"], ["u"], to=TensorProto.UINT8), node("Cast", ["u"], ["y"], to=FLOAT)),
        graph(node("Cast", ["x"], ["y"], to=FLOAT), dtype=TensorProto.UINT8),
    ),
    ("data-dependent", "tensorrt"): (graph(node("Unique", ["x"], ["y"])), RELU),
    ("data-dependent", "onnx"): (graph(node("NonZero", ["x"], ["y"])), RELU),
    ("control-flow", "onnx"): (
        graph(node("If", ["c"], ["y"], then_branch=BODY, else_branch=BODY), c=np.array(True)),
        RELU,
    ),
    ("dynamic-shape", "onnx"): (graph(node("Shape", ["x"], ["y"])), RELU),
    ("scalar-integer", "coreml"): (
        graph(node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["n"]), node("Neg", ["n"], ["y"]), i=np.array(0)),
        graph(node("Shape", ["x"], ["y"])),
    ),
    ("opset", "onnx"): (graph(node("Relu", ["x"], ["y"]), opset=21), RELU),
    ("opset", "tensorrt"): (graph(node("Relu", ["x"], ["y"]), opset=25), RELU),
    ("opset", "openvino"): (graph(node("Relu", ["x"], ["y"]), opset=18), RELU),
    ("opset", "coreml"): (graph(node("Relu", ["x"], ["y"]), opset=99), RELU),
    ("custom-operator", "openvino"): (graph(node("Magic", ["x"], ["y"], domain="com.acme")), RELU),
    ("custom-operator", "onnx"): (graph(node("Magic", ["x"], ["y"], domain="com.acme")), OWN),
    ("own-operator", "openvino"): (OWN, graph(node("Magic", ["x"], ["y"], domain="com.acme"))),
}


def ids(proto: onnx.ModelProto, target: str) -> set[str]:
    return {finding.rule for finding in lint_onnx(proto, (target,))}


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_rule_finds_its_fault_and_nothing_without_it(case: tuple[str, str]) -> None:
    rule, target = case
    faulty, sound = CASES[case]
    assert rule in ids(faulty, target)
    assert rule not in ids(sound, target)


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in rules()} == {rule for rule, _ in CASES}


def test_a_plain_graph_has_no_finding() -> None:
    assert lint_onnx(RELU) == ()


def test_im2col_is_an_error_and_no_gather_as_well() -> None:
    findings = lint_onnx(CASES["im2col", "openvino"][0], ("openvino",))
    assert [(finding.rule, finding.severity) for finding in findings] == [("im2col", "error")]


def test_a_fold_is_im2col() -> None:
    fold = graph(
        node("ScatterND", ["zeros", "index", "x"], ["y"]),
        shape=("batch", 4),
        zeros=np.zeros((8, 4), np.float32),
        index=np.zeros((2, 1), np.int64),
    )
    assert ids(fold, "onnx") >= {"im2col"}
    assert "gather" not in ids(fold, "onnx")


def test_severity_depends_on_the_target() -> None:
    found = lint_onnx(conv(4, 36, 4))
    assert {(f.targets, f.severity, f.confirmed) for f in found} == {
        (("onnx",), "warning", True),
        (("coreml",), "warning", False),
        (("executorch",), "warning", True),
        (("litert",), "warning", True),
        (("tensorrt",), "hint", True),
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule.id}-{rule.severity}")
def test_every_rule_says_what_to_do_and_who_says_so(rule: Any) -> None:
    assert rule.fix
    assert rule.source
    assert "http" not in rule.source


def test_form_natives_operator_fails_where_no_library_is_loaded() -> None:
    found = {(finding.targets, finding.severity) for finding in lint_onnx(OWN) if finding.rule == "own-operator"}
    assert (("onnx",), "hint") in found
    assert (("openvino",), "hint") in found
    (elsewhere,) = (targets for targets, severity in found if severity == "error")
    assert {"coreml", "tensorrt"} <= set(elsewhere)
