"""What fails or runs badly in an ONNX graph, whoever exported it. The table is the order of the findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx import TensorProto

from . import onnx_checks as checks
from . import onnx_indexing as indexing
from .onnx_view import Graph
from .rules import TARGETS, Finding, Rule, judge

if TYPE_CHECKING:
    import onnx

CONVOLVE = "shift with depthwise convolutions, as slide attention does"
SLICES = "write it as two slices and one concatenation an axis (slide_export.models.layers.roll)"
SIMPLIFY = "fold it: onnxsim.simplify(model), or export with sizes that are Python ints"
TAPS = "measure --lowering taps against grouped: k*k convolutions of multiplier 1"
MASK = "multiply by a mask instead of selecting: the size of a result must not depend on the content"
NOT_ORT = ("coreml", "openvino", "tensorrt")

RULES: tuple[Rule[Graph], ...] = (
    Rule(
        "rank",
        "error",
        ("coreml",),
        checks.computed_rank(checks.COREML_RANK),
        "merge axes (rows and columns into one) until every tensor has rank 5 or less",
        "coremltools#1723",
    ),
    Rule(
        "rank",
        "error",
        ("tensorrt",),
        checks.computed_rank(checks.TENSORRT_RANK),
        "merge axes until every tensor has rank 8 or less",
        "TensorRT NvInferRuntimeBase.h Dims::MAX_DIMS",
    ),
    Rule(
        "rank-view",
        "hint",
        ("coreml",),
        checks.viewed_rank,
        "coremltools expands reshape-transpose-reshape by itself; two rank-4 steps need no such luck",
        "coremltools pass expand_high_rank_reshape_and_transpose",
    ),
    Rule(
        "im2col",
        "error",
        TARGETS,
        indexing.im2col,
        CONVOLVE,
        "torch/onnx symbolic_opset11.py im2col, symbolic_opset18.py col2im; slide_export.graph.passes.check refuses it",
    ),
    Rule(
        "unfold-slices",
        "warning",
        TARGETS,
        indexing.stacked_slices,
        CONVOLVE,
        "torch/onnx symbolic_opset9.py unfold; every neighbourhood is copied",
    ),
    Rule(
        "gather",
        "warning",
        TARGETS,
        indexing.gathers,
        "precompute what is constant; replace the rest by slices, reshapes or convolutions",
        "coremltools#1103; roboflow/rf-detr#1495",
    ),
    Rule(
        "roll",
        "warning",
        TARGETS,
        indexing.roll_gathers,
        SLICES,
        "machinelearning.apple.com/research/vision-transformers: no native shifting on the Neural Engine",
    ),
    Rule(
        "roll-slices",
        "hint",
        ("coreml",),
        indexing.roll_slices,
        "fine in ONNX; before CoreML see that the PyTorch module slices too: torch.roll becomes two gathers there",
        "coremltools 9.0 converters/mil/frontend/torch/ops.py roll",
    ),
    Rule(
        "select",
        "hint",
        TARGETS,
        indexing.selections,
        "slice (x[:, :1]) instead of indexing (x[:, 0]): a Slice fuses where a Gather does not",
        "slide_export.models.layers.PatchMerging; slide_export.graph.passes.check refuses every Gather",
    ),
    Rule(
        "gather-constant", "hint", TARGETS, indexing.constant_gathers, SIMPLIFY, "torch/onnx symbolic_opset9.py index"
    ),
    Rule(
        "multiplier",
        "warning",
        ("onnx",),
        checks.multiplier,
        TAPS,
        "onnxruntime#5605, onnxruntime#28565: depthwise kernels need one filter a group; "
        "on phones litert-torch#1211: 459 ms against 0.68 ms on QNN HTP",
    ),
    Rule(
        "multiplier",
        "warning",
        ("coreml",),
        checks.multiplier,
        TAPS,
        "no source covers it: sbryngelson/ane-guide measured groups == channels alone",
        confirmed=False,
    ),
    Rule(
        "multiplier",
        "hint",
        ("tensorrt",),
        checks.multiplier,
        "leave it out of INT8: a group must have a multiple of 4 channels on both sides; or " + TAPS,
        "TensorRT NvInfer.h IConvolutionLayer; TensorRT#4529",
    ),
    Rule(
        "batch-fixed",
        "warning",
        TARGETS,
        checks.fixed_batch,
        "export with a dynamic first dimension (dynamic_axes), unless one batch size is all you serve",
        "pytorch#133653",
    ),
    Rule(
        "batch-baked",
        "warning",
        TARGETS,
        checks.baked_batch,
        "reshape with -1 for the batch and trace at batch 2 or more; other batch sizes fail or mix images",
        "Swin-Transformer#257; pytorch#133653",
    ),
    Rule(
        "dtype-none",
        "error",
        TARGETS,
        checks.element(*checks.NO_NUMBERS),
        "compute with real numbers only",
        "no target has kernels for it",
    ),
    Rule(
        "dtype-bfloat16",
        "error",
        ("coreml", "onnx"),
        checks.element(TensorProto.BFLOAT16),
        "convert the model to float32 (module.float()) before exporting",
        "coremltools 9.0 frontend/torch/utils.py has no bfloat16; onnxruntime 1.32 CPU: NOT_IMPLEMENTED Relu(14)",
    ),
    Rule(
        "dtype-double",
        "warning",
        TARGETS,
        checks.element(TensorProto.DOUBLE),
        "convert the model to float32 (module.float()); look for a numpy constant",
        "onnxruntime 1.32 CPU has no double Conv; onnx-tensorrt docs/operators.md and coremltools make float32 of it",
    ),
    Rule(
        "dtype-int64",
        "warning",
        ("coreml",),
        checks.int64_activations,
        "use int32, or keep indices out of the model",
        "CoreML has no 64-bit integers: coremltools makes int32 of them",
    ),
    Rule(
        "dtype-int64",
        "hint",
        ("tensorrt",),
        checks.int64_activations,
        "use int32: half the bytes",
        "onnx-tensorrt docs/operators.md (10.15): INT64 is supported, as itself",
    ),
    Rule(
        "dtype-uint8",
        "error",
        ("tensorrt",),
        checks.inner_uint8,
        "cast to float32 right after the input",
        "onnx-tensorrt docs/operators.md (10.15): UINT8 is only supported as network input or output",
    ),
    Rule(
        "data-dependent",
        "error",
        ("tensorrt",),
        checks.operators("Unique", "Compress"),
        MASK,
        "onnx-tensorrt docs/operators.md (10.15): Compress N, Unique N",
    ),
    Rule(
        "data-dependent",
        "warning",
        TARGETS,
        checks.operators("NonZero", "NonMaxSuppression"),
        MASK,
        "ONNX Operators.md NonZero; sbryngelson/ane-guide appendix A b7565c5: data-dependent shape",
    ),
    Rule(
        "control-flow",
        "warning",
        TARGETS,
        checks.operators("If", "Loop", "Scan"),
        "decide in Python while tracing, or unroll",
        "onnx-tensorrt docs/operators.md (10.15), Loop and If; sbryngelson/ane-guide appendix A b7565c5, while_loop",
    ),
    Rule("dynamic-shape", "hint", TARGETS, checks.operators("Shape", "Size"), SIMPLIFY, "onnxsim; pytorch#133653"),
    Rule(
        "scalar-integer",
        "warning",
        ("coreml",),
        checks.scalar_integers,
        "keep sizes Python ints while tracing, and numpy below 2.4 with coremltools 9.0",
        "coremltools#2633",
    ),
    Rule(
        "opset",
        "error",
        TARGETS,
        checks.unreleased_opset,
        "export with opset 17",
        "newer than the installed onnx package defines",
    ),
    Rule(
        "opset",
        "error",
        ("tensorrt",),
        checks.opset_above(checks.TENSORRT_OPSET),
        "export with opset 17",
        "onnx-tensorrt docs/operators.md (10.15): opset 9 to opset 24",
    ),
    Rule(
        "opset",
        "warning",
        ("onnx",),
        checks.opset_above(checks.QUANTIZED),
        "export with opset 17 before quantizing",
        "onnxruntime static quantization refuses opset 21; ultralytics engine/exporter.py best_onnx_opset",
    ),
    Rule(
        "opset",
        "hint",
        TARGETS,
        checks.opset_above(checks.READ_IN_FULL),
        "export with opset 17, which every target reads in full",
        "onnxruntime's CUDA provider lacks Resize-19 and ReduceMax-20; ultralytics engine/exporter.py",
    ),
    Rule(
        "custom-operator",
        "error",
        NOT_ORT,
        checks.custom_operators,
        "export with standard operators only",
        "ONNX IR.md, operator sets",
    ),
    Rule(
        "custom-operator",
        "hint",
        ("onnx",),
        checks.custom_operators,
        "the graph needs an ONNX Runtime that has this operator",
        "ONNX IR.md, operator sets",
    ),
)


def lint_onnx(proto: onnx.ModelProto, targets: Sequence[str] = TARGETS) -> tuple[Finding, ...]:
    """Returns what the rules find in any ONNX model."""
    return judge(RULES, Graph(proto), targets)
