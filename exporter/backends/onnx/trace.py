"""ONNX Runtime's profile, a list of trace events -> what it executed.

Each executed node is an event of category "Node" with its duration in microseconds; fused and inserted nodes have names
of ONNX Runtime's own. Weights that it has packed are missing from `input_type_shape`, others are in `parameter_size`.
Source: microsoft/onnxruntime, core/framework/sequential_executor.cc (KernelScope), seen with 1.32.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from slide_export.benchmark.profile import WARM, module_of
from slide_export.core.measurement import Executed, Product

SUFFIX = "_kernel_time"
CONVOLUTIONS = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})
PRODUCTS = frozenset({"FusedGemm", "FusedMatMul", "Gemm", "MatMul"})


def executed(events: Sequence[Mapping[str, Any]]) -> list[Executed]:
    """Returns what was executed, in order; the first calls only warm up."""
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(SUFFIX):
            key = event["name"].removesuffix(SUFFIX), event["args"]["node_index"]
            times[key].append(event["dur"] / 1e3)
            first.setdefault(key, event["args"])
    return [
        Executed(module_of(key[0]), first[key]["op_name"], _product(first[key]), tuple(ms[WARM:]))
        for key, ms in times.items()
    ]


def _product(node: Mapping[str, Any]) -> Product | None:
    operator = node["op_name"]
    shapes = [shape for tensor in node["input_type_shape"] for shape in tensor.values()]
    if operator in CONVOLUTIONS:
        (result,) = [shape for tensor in node["output_type_shape"] for shape in tensor.values()]
        return "dense" if _covers(shapes, result) else "spatial"
    if operator in PRODUCTS:
        matrices = [shape for shape in shapes if len(shape) > 1]
        return "dense" if len(matrices) < 2 or int(node["parameter_size"]) else "activations"
    return None


def _covers(shapes: Sequence[Sequence[int]], result: Sequence[int]) -> bool:
    """Returns whether a convolution has one group and takes every input once, as a linear layer over patches does."""
    images, kernel = shapes[0], shapes[1]  # [B, C, H, W], [O, C/groups, kh, kw]
    return kernel[1] == images[1] and math.prod(images[2:]) == math.prod(result[2:]) * math.prod(kernel[2:])
