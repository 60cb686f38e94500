"""Protobuf messages of a model specification -> the frozen values of `program.py`.

The messages are read by duck typing: they come from the caller, so nothing here imports coremltools.

Source: how the messages are written: coremltools 9.0 `converters/mil/backend/mil/helper.py` (`create_tensor_value`) and
`load.py` (`translate_const`, `translate_constexpr`, `translate_generic_op`); which immediate values are bytes:
`converters/mil/mil/types/__init__.py`, `IMMEDIATE_VALUE_TYPES_IN_BYTES`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import blob
from .errors import MilError
from .program import STORAGE, Binding, Feature, Literal, MilType, Operation, Output, Program, Reference, Value

Message = Any

# MIL_pb2.DataType by number; the text form's short names.
ELEMENTS = {
    1: "bool",
    2: "string",
    10: "fp16",
    11: "fp32",
    12: "fp64",
    13: "bf16",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
    40: "fp8e4m3fn",
    41: "fp8e5m2",
}
# FeatureTypes_pb2.ArrayFeatureType.ArrayDataType: 0x10000 float, 0x20000 integer, plus the width.
ARRAY_ELEMENTS = {65552: "fp16", 65568: "fp32", 65600: "fp64", 131104: "int32", 131080: "int8"}
COLORS = {10: "gray", 20: "rgb", 30: "bgr", 40: "gray"}  # 40 is GRAYSCALE_FLOAT16
CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3}


def mil_type(message: Message) -> MilType:
    """The declared type in a `ValueType` message."""
    kind = message.WhichOneof("type")
    if kind == "tensorType":
        tensor = message.tensorType
        element = ELEMENTS.get(tensor.dataType, f"type number {tensor.dataType}")
        return MilType(element, tuple(_size(dimension) for dimension in tensor.dimensions))
    if kind == "stateType":
        return mil_type(message.stateType.wrappedType)
    return MilType({"listType": "list", "dictionaryType": "dict"}.get(kind or "", str(kind)))


def _size(dimension: Message) -> int | None:
    # Unknown until the program runs: None.
    return int(dimension.constant.size) if dimension.WhichOneof("dimension") == "constant" else None


def literal(message: Message) -> Literal:
    """The value in a `Value` message; one that lives in the weight file is left undecoded."""
    declared = mil_type(message.type)
    if message.WhichOneof("value") == "blobFileValue":
        blob_value = message.blobFileValue
        return Literal(declared, None, blob_value.fileName.removeprefix("@model_path/"), int(blob_value.offset))
    immediate = message.immediateValue
    if immediate.WhichOneof("value") == "list":
        return Literal(declared, _list(immediate.list))
    return Literal(declared, _tensor(immediate.tensor, declared))


def _list(message: Message) -> list[str] | list[int]:
    items = [_tensor(item.immediateValue.tensor, mil_type(item.type)) for item in message.values]
    if all(isinstance(item, str) for item in items):
        return [str(item) for item in items]
    return [int(item) for item in items if isinstance(item, torch.Tensor)]


def _tensor(message: Message, declared: MilType) -> Value:
    field = message.WhichOneof("value")
    shape = tuple(size or 0 for size in declared.shape)
    if declared.element == "string":
        strings = [text.decode() if isinstance(text, bytes) else str(text) for text in message.strings.values]
        return strings[0] if not shape else strings
    if declared.element not in STORAGE:
        raise MilError(
            f"element type {declared.element!r} is not implemented; implemented: {', '.join(sorted(STORAGE))}"
        )
    if field is None:  # protobuf leaves out an empty list: a tensor of zeros
        return torch.zeros(shape, dtype=STORAGE[declared.element])
    values = getattr(message, field).values
    if field == "bytes":
        return blob.decode(np.frombuffer(values, np.uint8), declared.element, shape)
    return torch.tensor(list(values), dtype=STORAGE[declared.element]).reshape(shape)


def operation(message: Message) -> Operation:
    """One statement of a block."""
    attributes = {name: literal(value) for name, value in message.attributes.items()}
    title = attributes["name"].value if "name" in attributes else ""
    return Operation(
        type=message.type,
        name=str(title),
        inputs={name: tuple(_binding(b) for b in argument.arguments) for name, argument in message.inputs.items()},
        attributes=attributes,
        outputs=tuple(Output(output.name, mil_type(output.type)) for output in message.outputs),
        has_blocks=len(message.blocks) > 0,
    )


def _binding(message: Message) -> Binding:
    return Reference(message.name) if message.WhichOneof("binding") == "name" else literal(message.value)


def program(message: Message, function: str) -> Program:
    """The function `function` of a `Program` message.

    Raises:
        MilError: there is no such function, or it has no block for its own opset.
    """
    if function not in message.functions:
        raise MilError(f"function {function!r} was expected, the program has {sorted(message.functions)}")
    main = message.functions[function]
    if main.opset not in main.block_specializations:
        raise MilError(f"a block for opset {main.opset!r} was expected, found {sorted(main.block_specializations)}")
    block = main.block_specializations[main.opset]  # one of them may be there for each opset; this is the one that runs
    return Program(
        opset=main.opset,
        inputs={item.name: mil_type(item.type) for item in main.inputs},
        operations=tuple(operation(item) for item in block.operations),
        outputs=tuple(block.outputs),
    )


def feature(message: Message) -> Feature:
    """An entry of the model's interface, from a `FeatureDescription` message."""
    kind = message.type.WhichOneof("Type")
    if kind == "multiArrayType":
        return _array(message.name, message.type.multiArrayType)
    if kind == "imageType":
        return _image(message.name, message.type.imageType)
    names = {"dictionaryType": "dictionary", "stateType": "state", "stringType": "scalar", "int64Type": "scalar"}
    return Feature(message.name, names.get(kind, str(kind)))


def _array(name: str, array: Message) -> Feature:
    flexible = array.WhichOneof("ShapeFlexibility")
    ranges: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()
    if flexible == "shapeRange":
        ranges = tuple((int(size.lowerBound), int(size.upperBound)) for size in array.shapeRange.sizeRanges)
    elif flexible == "enumeratedShapes":
        choices = tuple(tuple(int(size) for size in item.shape) for item in array.enumeratedShapes.shapes)
    element = ARRAY_ELEMENTS.get(array.dataType, f"array type {array.dataType}")
    return Feature(name, "array", element, tuple(int(size) for size in array.shape), ranges, choices)


def _image(name: str, image: Message) -> Feature:
    color = COLORS.get(image.colorSpace, f"colour space {image.colorSpace}")
    channels = CHANNELS.get(color, 0)
    flexible = image.WhichOneof("SizeFlexibility")
    ranges: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()
    if flexible == "imageSizeRange":
        limits = image.imageSizeRange
        sides = (limits.heightRange, limits.widthRange)
        # As (1, C, H, W): an image has one of each.
        ranges = ((1, 1), (channels, channels), *((int(s.lowerBound), int(s.upperBound)) for s in sides))
    elif flexible == "enumeratedSizes":
        choices = tuple((1, channels, int(size.height), int(size.width)) for size in image.enumeratedSizes.sizes)
    shape = (1, channels, int(image.height), int(image.width))
    return Feature(name, "image", "fp32", shape, ranges, choices, color)
