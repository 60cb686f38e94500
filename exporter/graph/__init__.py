"""The ONNX graph: export, passes, the values and types in it."""
