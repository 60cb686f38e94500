"""Constant folding and shape inference by onnxsim."""

from typing import cast

import onnx

from slide_export.core.errors import ExportError


def simplify(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the folded graph. Its results are judged by the parity check, on real images, not by onnxsim's own.

    Raises:
        ExportError: onnxsim failed.
    """
    import onnxsim

    try:
        simplified, _ = onnxsim.simplify(proto)
    except Exception as error:  # onnxsim raises bare exceptions from C++
        raise ExportError(f"expected onnxsim to fold the graph, it failed: {error}") from error
    return cast(onnx.ModelProto, simplified)
