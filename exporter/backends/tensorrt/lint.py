"""What fails or runs badly on TensorRT alone."""

from slide_export.core.lint import LintFact

MAX_RANK = 8  # nvinfer1::Dims::MAX_DIMS, NvInferRuntimeBase.h
LAST_OPSET = 24  # onnx-tensorrt docs/operators.md, 10.15 and 11.2

FACTS = (
    LintFact(
        "rank",
        "error",
        "merge axes until every tensor has rank 8 or less",
        "TensorRT NvInferRuntimeBase.h Dims::MAX_DIMS",
        limit=MAX_RANK,
    ),
    LintFact(
        "multiplier",
        "hint",
        "leave it out of INT8: a group must have a multiple of 4 channels on both sides; or measure the form taps "
        "against grouped: k*k convolutions of multiplier 1",
        "TensorRT NvInfer.h IConvolutionLayer; TensorRT#4529",
    ),
    LintFact(
        "dtype-int64",
        "hint",
        "use int32: half the bytes",
        "onnx-tensorrt docs/operators.md (10.15): INT64 is supported, as itself",
        check="dtype-int64-node",
    ),
    LintFact(
        "dtype-uint8",
        "error",
        "cast to float32 right after the input",
        "onnx-tensorrt docs/operators.md (10.15): UINT8 is only supported as network input or output",
    ),
    LintFact(
        "data-dependent",
        "error",
        "multiply by a mask instead of selecting: the size of a result must not depend on the content",
        "onnx-tensorrt docs/operators.md (10.15): Compress N, Unique N",
        check="data-dependent-none",
    ),
    LintFact(
        "opset",
        "error",
        "export with opset 17",
        "onnx-tensorrt docs/operators.md (10.15): opset 9 to opset 24",
        limit=LAST_OPSET,
    ),
)
