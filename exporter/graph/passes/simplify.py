"""Constant folding and shape inference by onnxsim."""

from typing import cast

import onnx
import onnx_ir as ir

from slide_export.core.errors import ExportError
from slide_export.graph.convert import to_ir, to_proto


class Simplify(ir.passes.FunctionalPass):
    """Fold what is known before the model runs. The parity check judges the results, on real images.

    1. A node whose operands are all constants: its result becomes one.
    2. The shape arithmetic that the tracer writes around a reshape: the shape becomes a constant, but for the batch.
    3. Two nodes that compute the same: one.

        Given    x -> Mul(Mul(two, two)) -> y      two: 2
        Result   x -> Mul(four) -> y               four: 4
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Hand the model to onnxsim, whose three cases these are.

        Raises:
            ExportError: onnxsim failed.
        """
        import onnxsim

        proto = to_proto(model)
        try:
            simplified, _ = onnxsim.simplify(proto)
        except Exception as error:  # onnxsim raises bare exceptions from C++
            raise ExportError(f"expected onnxsim to fold the graph, it failed: {error}") from error
        return ir.passes.PassResult(to_ir(cast(onnx.ModelProto, simplified)), simplified.graph != proto.graph)
