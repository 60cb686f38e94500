"""Between the protobuf that stages hand on and the onnx_ir model that a pass edits.

`OnnxGraph.proto` is never written. `to_ir` copies nodes and values and shares the tensors, whose bytes nobody changes;
onnx_ir renames a tensor together with its value, so a weight that gets another name gets a tensor of its own first.
"""

import onnx
import onnx_ir as ir

from slide_export.native.schema import register

HEADER = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


def to_ir(proto: onnx.ModelProto) -> ir.Model:
    """A copy of a model to edit; the weights' bytes are shared with `proto`, the small tensors of nodes are not."""
    register()  # shapes behind our own operator are inferred in every pass
    model = ir.from_proto(proto)
    for node in model.graph:
        for attribute in tuple(node.attributes.values()):
            if isinstance(held := attribute.value, ir.serde.TensorProtoTensor):  # renamed where a Constant is lifted
                copied = onnx.TensorProto()
                copied.CopyFrom(held.raw)
                node.attributes.add(ir.AttrTensor(attribute.name, ir.serde.deserialize_tensor(copied)))
    return model


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The protobuf of an edited model: `to_proto(to_ir(proto))` is `proto`, to the byte, for every graph of ours.

    onnx_ir differs from what the tracer, onnx's shape inference and onnxsim write in three ways, each undone here:

    1. It states the types of initializers a second time, as `value_info`.
    2. It sorts the metadata; here they stand in the order in which they were added.
    3. It leaves out a field of the header that is there and empty.
    """
    proto = ir.to_proto(model)
    weights = {tensor.name for tensor in proto.graph.initializer}  # Case 1
    stated = [value for value in proto.graph.value_info if value.name not in weights]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(stated)
    del proto.metadata_props[:]  # Case 2
    for key, value in model.metadata_props.items():
        proto.metadata_props.add(key=key, value=value)
    for field in HEADER:  # Case 3
        if (given := getattr(model, field)) is not None:
            setattr(proto, field, given)
    if model.graph.doc_string is not None:
        proto.graph.doc_string = model.graph.doc_string
    return proto


def rename(value: ir.Value, name: str) -> None:
    """Give a value another name, and a weight's tensor too, without a change to the model that it is shared with."""
    if value.const_value is not None:
        value.const_value = ir.Tensor(value.const_value.numpy(), dtype=value.const_value.dtype, name=name)
    value.name = name


def constant(tensor: ir.TensorProtocol) -> ir.Value:
    """A value that holds a tensor, with its name, to be registered as an initializer."""
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    return ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
