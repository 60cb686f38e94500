"""What fails or runs badly under ONNX Runtime alone."""

from slide_export.core.lint import LintFact

QUANTIZED_OPSET = 20  # the last that ONNX Runtime's static quantization takes

FACTS = (
    LintFact(
        "multiplier",
        "warning",
        "measure the form taps against grouped: k*k convolutions of multiplier 1",
        "onnxruntime#5605, onnxruntime#28565: depthwise kernels need one filter a group; "
        "on phones litert-torch#1211: 459 ms against 0.68 ms on QNN HTP",
    ),
    LintFact(
        "dtype-bfloat16",
        "error",
        "convert the model to float32 (module.float()) before exporting",
        "onnxruntime 1.32 CPU: NOT_IMPLEMENTED Relu(14)",
    ),
    LintFact(
        "opset",
        "warning",
        "export with opset 17 before quantizing",
        "onnxruntime static quantization refuses opset 21; ultralytics engine/exporter.py best_onnx_opset",
        limit=QUANTIZED_OPSET,
    ),
    LintFact(
        "custom-operator",
        "hint",
        "the graph needs an ONNX Runtime that has this operator",
        "ONNX IR.md, operator sets",
    ),
    LintFact(
        "own-operator",
        "hint",
        "it is loaded with the library beside it: options.register_custom_ops_library",
        "onnxruntime_c_api.h, RegisterCustomOpsLibrary_V2",
    ),
)
