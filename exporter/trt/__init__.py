"""TensorRT and TensorRT for RTX, one Python interface: the installed package, its builder, the files of an engine.

`vendor` finds and imports the package, `builder` makes a plan and its sidecar of an ONNX graph, `sidecar` ties the
files together. The target's own surface is `slide_export.backends.tensorrt`.
"""
