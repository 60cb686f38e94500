"""Large weights stand aside while the passes run, as inputs of the graph: their types and shapes are all these need.

onnx_ir does so itself around shape inference and the checker; onnxsim, which is not its own, copies the whole model
several times (Slide-Swin-B: 2.8 GiB). The limit is higher than onnx_ir's 1000 bytes: indices and tables below it are
constants that fold.
"""

from collections.abc import Sequence

import onnx_ir as ir

from slide_export.core.errors import ExportError

LARGE = 2**16  # bytes


def detach(model: ir.Model) -> tuple[ir.TensorProtocol, ...]:
    """Make inputs of the large initializers, in place, and hand out their tensors for `attach`, in the same order.

    Given    inputs: x            initializers: weight [200, 200], bias [200]
    Result   inputs: x, weight    initializers: bias                             handed out: weight's tensor
    """
    graph = model.graph
    large = [value for value in graph.initializers.values() if (held := value.const_value) and held.nbytes > LARGE]
    tensors = tuple(value.const_value for value in large if value.const_value is not None)
    for value in large:
        del graph.initializers[value.name or ""]
        value.const_value = None
        graph.inputs.append(value)
    return tensors


def attach(model: ir.Model, tensors: Sequence[ir.TensorProtocol]) -> None:
    """Make initializers of the detached weights again, behind those that stayed.

    They are the last inputs, in the order of `detach`: a pass may have renamed them, none takes an input away.

    1. A weight that a node still uses: an initializer.
    2. A weight that folding has left without a user: dropped.
    """
    values = tuple(model.graph.inputs)[len(model.graph.inputs) - len(tensors) :]
    for value, tensor in zip(values, tensors, strict=True):
        if value.shape is None or tuple(value.shape.numpy()) != tuple(tensor.shape.numpy()):
            raise ExportError(
                f"expected the weight {tensor.name} among the graph's inputs, found {value.name}: a pass moved it"
            )
        model.graph.inputs.remove(value)
        if value.uses():  # Case 1
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
            model.graph.register_initializer(value)
