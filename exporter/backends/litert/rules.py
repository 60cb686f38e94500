"""What a saved `.tflite` must not hold, checked after conversion and by the linter."""

from __future__ import annotations

from collections.abc import Iterator

from slide_export.core.lint import Device, Finding, Rule, judge

from .flatbuffer import Graph, Operation

TARGETS = ("litert",)
BUILTIN = "use operators that LiteRT has: a phone's runtime knows no custom or Flex operator unless somebody links it"


def _custom(graph: Graph) -> Iterator[Device]:
    for one in graph.operations:
        if one.name.startswith("custom"):
            yield _module(graph, one), f"the operator {one.name.removeprefix('custom ') or 'without a name'}"


def _tanh(graph: Graph) -> Iterator[Device]:
    for one in graph.operations:
        if one.name == "GELU" and one.approximate:
            yield _module(graph, one), "GELU by its tanh approximation"


def _dynamic(graph: Graph) -> Iterator[Device]:
    for index in (*graph.inputs, *graph.outputs):
        if any(size < 1 for size in graph.tensors[index].shape):
            yield "", f"{graph.tensors[index].name} of shape {list(graph.tensors[index].shape)}"


def _quantized_softmax(graph: Graph) -> Iterator[Device]:
    for one in graph.operations:
        if one.name == "SOFTMAX" and graph.tensors[one.inputs[0]].type in ("int8", "uint8", "int16"):
            yield _module(graph, one), f"a softmax in {graph.tensors[one.inputs[0]].type}"


def _integer_ends(graph: Graph) -> Iterator[Device]:
    for index in (*graph.inputs, *graph.outputs):
        if graph.tensors[index].scale is not None:
            yield "", f"{graph.tensors[index].name} in {graph.tensors[index].type} with a scale"


RULES: tuple[Rule[Graph], ...] = (
    Rule("custom-operator", "error", TARGETS, _custom, BUILTIN, "ai.google.dev/edge/litert: custom operators"),
    Rule(
        "gelu-tanh",
        "error",
        TARGETS,
        _tanh,
        "convert a model whose GELU is the erf form; the approximation is off by 4.7e-4",
        "LiteRT's schema, GeluOptions.approximate",
    ),
    Rule("dynamic-shape", "error", TARGETS, _dynamic, "convert it at one batch size", "LiteRT's schema, Tensor.shape"),
    Rule(
        "quantized-softmax",
        "warning",
        TARGETS,
        _quantized_softmax,
        "leave softmax in float: its errors go straight into the attention",
        "slide_export.calibration.recipe",
    ),
    Rule(
        "quantized-ends",
        "warning",
        TARGETS,
        _integer_ends,
        "keep inputs and outputs in float32, so that callers need no scales",
        "ai_edge_quantizer 0.10.0, static_wi8_ai8",
    ),
)


def faults(graph: Graph) -> tuple[Finding, ...]:
    """Findings of every rule in a graph, in the rules' order."""
    return judge(RULES, graph, TARGETS)


def _module(graph: Graph, operation: Operation) -> str:
    return next((scope for one in operation.outputs if (scope := graph.tensors[one].scope)), "")
