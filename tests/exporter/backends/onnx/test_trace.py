"""Trace events, as ONNX Runtime 1.32 writes them."""

from typing import Any

import pytest

from slide_export.backends.onnx import trace as onnx_trace
from slide_export.benchmark.profile import WARM


def event(name: str, operator: str, inputs: list[list[int]], output: list[int], duration: int = 5, **args: str) -> Any:
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": duration,
        "args": {
            "op_name": operator,
            "node_index": "1",
            "parameter_size": "0",
            "input_type_shape": [{"float": shape} for shape in inputs],
            "output_type_shape": [{"float": output}],
            **args,
        },
    }


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "parameters", "expected"),
    [
        ("Conv", [[1, 3, 64, 64], [16, 3, 4, 4], [16]], [1, 16, 16, 16], "9", "dense"),  # patches
        ("Conv", [[1, 8, 7, 7], [16, 8, 1, 1]], [1, 16, 7, 7], "9", "dense"),
        ("Conv", [[1, 16, 8, 8], [16, 1, 3, 3], [16]], [1, 16, 8, 8], "9", "spatial"),
        ("Conv", [[1, 16, 8, 8], [8, 16, 3, 3]], [1, 8, 4, 4], "9", "spatial"),  # overlapping patches
        ("Gemm", [[256, 16], [48]], [256, 48], "192", "dense"),  # its weights are packed, and not told
        ("MatMul", [[1, 4, 64]], [1, 4, 32], "0", "dense"),
        ("MatMul", [[1, 4, 64], [64, 32]], [1, 4, 32], "8192", "dense"),
        ("MatMul", [[2, 49, 8], [2, 8, 49]], [2, 49, 49], "0", "activations"),
        ("Add", [[4], [4]], [4], "0", None),
    ],
)
def test_products_are_told_apart(
    operator: str, inputs: list[list[int]], output: list[int], parameters: str, expected: str | None
) -> None:
    events = [event("/a/b/X", operator, inputs, output, parameter_size=parameters)] * (WARM + 1)
    (found,) = onnx_trace.executed(events)
    assert (found.product, found.module, found.operator) == (expected, "a.b", operator)


def test_times_are_milliseconds_without_the_first_calls() -> None:
    durations = [9000] * WARM + [1000, 2000]
    events = [event("/a/Add", "Add", [[4], [4]], [4], duration) for duration in durations]
    (found,) = onnx_trace.executed([{"cat": "Session", "name": "model_run", "dur": 1, "args": {}}, *events])
    assert found.ms == (1.0, 2.0)


def test_nodes_of_one_name_stay_apart_by_their_index() -> None:
    events = [event("Reorder", "ReorderInput", [[4]], [4], node_index=str(index)) for index in (7, 8)] * (WARM + 1)
    assert [one.module for one in onnx_trace.executed(events)] == [None, None]
