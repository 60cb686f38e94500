"""Messages of a specification as values: types, literals, blocks and features, those that no program here has too."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from slide_export.mil import decode, vendor
from slide_export.mil.errors import MilError
from slide_export.mil.program import STORAGE, Feature, Literal, MilType, Reference


@pytest.fixture(scope="module")
def proto() -> Any:
    vendor.prepare()
    from coremltools.proto import MIL_pb2

    return MIL_pb2


@pytest.fixture(scope="module")
def features() -> Any:
    vendor.prepare()
    from coremltools.proto import Model_pb2

    return Model_pb2


def tensor_type(proto: Any, number: int, *sizes: int | None) -> Any:
    message = proto.ValueType()
    message.tensorType.dataType = number
    for size in sizes:
        dimension = message.tensorType.dimensions.add()
        if size is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = size
    return message


def value(proto: Any, number: int, sizes: tuple[int, ...], field: str, values: Any) -> Any:
    message = proto.Value(type=tensor_type(proto, number, *sizes))
    holder = getattr(message.immediateValue.tensor, field)
    if field == "bytes":
        holder.values = values
    else:
        holder.values.extend(values)
    return message


def test_element_types_are_those_of_the_message_definition(proto: Any) -> None:
    """`DataType` of MIL_pb2: FLOAT16 = 10, BFLOAT16 = 13, UINT4 = 35, FLOAT8E4M3FN = 40, ..."""
    short = {"float": "fp", "bfloat": "bf"}
    theirs = {}
    for name, number in proto.DataType.items():
        word = name.lower()
        stem = next((long for long in ("bfloat", "float") if word.startswith(long)), "")
        theirs[number] = short.get(stem, stem) + word.removeprefix(stem) if stem else word
    theirs.pop(0)  # UNUSED_TYPE
    assert theirs == decode.ELEMENTS


def test_array_types_and_colours_are_those_of_the_message_definition(proto: Any) -> None:
    """FLOAT16 = 0x10010, INT32 = 0x20020, ... of `ArrayDataType`."""
    from coremltools.proto import FeatureTypes_pb2

    theirs = {number: name.lower() for name, number in FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.items()}
    assert theirs.pop(0).startswith("invalid")
    short = {number: name.replace("double", "fp64").replace("float", "fp") for number, name in theirs.items()}
    assert short == decode.ARRAY_ELEMENTS
    assert set(decode.COLORS) == set(FeatureTypes_pb2.ImageFeatureType.ColorSpace.values()) - {0}


def test_a_type_has_an_element_and_sizes_that_may_be_unknown(proto: Any) -> None:
    assert decode.mil_type(tensor_type(proto, 10, 2, None, 3)) == MilType("fp16", (2, None, 3))
    assert decode.mil_type(tensor_type(proto, 99)) == MilType("type number 99")
    state = proto.ValueType()
    state.stateType.wrappedType.CopyFrom(tensor_type(proto, 11, 4))
    assert decode.mil_type(state) == MilType("fp32", (4,))
    listed, keyed = proto.ValueType(), proto.ValueType()
    listed.listType.type.CopyFrom(tensor_type(proto, 11))
    keyed.dictionaryType.keyType.CopyFrom(tensor_type(proto, 11))
    assert [decode.mil_type(each).element for each in (listed, keyed)] == ["list", "dict"]
    assert decode.mil_type(proto.ValueType()).element == "None"


def test_a_value_in_the_weight_file_is_left_there(proto: Any) -> None:
    message = proto.Value(type=tensor_type(proto, 10, 2))
    message.blobFileValue.fileName = "@model_path/weights/weight.bin"
    message.blobFileValue.offset = 64
    assert decode.literal(message) == Literal(MilType("fp16", (2,)), None, "weights/weight.bin", 64)


@pytest.mark.parametrize(
    ("number", "field", "values", "dtype"),
    [
        (11, "floats", [0.5, -2.0], torch.float32),
        (12, "doubles", [0.5, -2.0], torch.float32),
        (23, "ints", [1, -2], torch.int32),
        (24, "longInts", [1, -(2**40)], torch.int64),
        (1, "bools", [True, False], torch.bool),
    ],
)
def test_a_value_that_is_written_out(proto: Any, number: int, field: str, values: list[Any], dtype: Any) -> None:
    found = decode.literal(value(proto, number, (1, 2), field, values)).value
    assert isinstance(found, torch.Tensor)
    assert (found.dtype, tuple(found.shape), found.flatten().tolist()) == (dtype, (1, 2), values)


def test_a_value_in_bytes_has_its_own_width(proto: Any) -> None:
    """fp16 and whole numbers of 8 and 16 bits are bytes even where they are written out."""
    found = decode.literal(value(proto, 10, (2,), "bytes", np.array([0.5, -2], np.float16).tobytes())).value
    assert isinstance(found, torch.Tensor)
    assert (found.dtype, found.tolist()) == (torch.float32, [0.5, -2.0])
    found = decode.literal(value(proto, 22, (1,), "bytes", np.array([-300], np.int16).tobytes())).value
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == [-300]


def test_a_value_that_is_left_out_is_zeros(proto: Any) -> None:
    found = decode.literal(proto.Value(type=tensor_type(proto, 23, 2, 3))).value
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, torch.zeros(2, 3, dtype=torch.int32))


def test_a_string_is_a_scalar_or_a_list(proto: Any) -> None:
    assert decode.literal(value(proto, 2, (), "strings", ["reflect"])).value == "reflect"
    assert decode.literal(value(proto, 2, (2,), "strings", ["a", "b"])).value == ["a", "b"]


def test_an_element_that_is_not_implemented_is_refused(proto: Any) -> None:
    assert "bf16" not in STORAGE
    with pytest.raises(MilError, match=r"element type 'bf16' is not implemented; implemented: bool, fp16"):
        decode.literal(value(proto, 13, (1,), "bytes", b"\0\0"))


@pytest.mark.parametrize(("number", "field", "items"), [(2, "strings", ["cat", "dog"]), (24, "longInts", [3, 5])])
def test_a_list_holds_class_names_or_numbers(proto: Any, number: int, field: str, items: list[Any]) -> None:
    message = proto.Value()
    message.type.listType.type.CopyFrom(tensor_type(proto, number))
    message.immediateValue.list.values.extend(value(proto, number, (), field, [item]) for item in items)
    assert decode.literal(message).value == items


def test_a_statement_has_operands_by_parameter(proto: Any) -> None:
    message = proto.Operation(type="concat")
    message.attributes["name"].CopyFrom(value(proto, 2, (), "strings", ["joined"]))
    for name in ("a", "b"):
        message.inputs["values"].arguments.add().name = name
    message.inputs["axis"].arguments.add().value.CopyFrom(value(proto, 23, (), "ints", [1]))
    message.outputs.add(name="y", type=tensor_type(proto, 11, 4))
    found = decode.operation(message)
    assert (found.type, found.name, found.has_blocks) == ("concat", "joined", False)
    assert found.inputs["values"] == (Reference("a"), Reference("b"))
    axis = found.inputs["axis"][0]
    assert isinstance(axis, Literal)
    assert isinstance(axis.value, torch.Tensor)
    assert axis.value.item() == 1
    assert found.outputs[0].type == MilType("fp32", (4,))
    message.blocks.add()
    del message.attributes["name"]
    assert (decode.operation(message).name, decode.operation(message).has_blocks) == ("", True)


def test_the_block_of_the_functions_own_opset_runs(proto: Any) -> None:
    message = proto.Program()
    main = message.functions["main"]
    main.opset = "CoreML7"
    main.inputs.add(name="x", type=tensor_type(proto, 10, 1))
    main.block_specializations["CoreML6"].outputs.append("old")
    with pytest.raises(MilError, match=r"a block for opset 'CoreML7' was expected, found \['CoreML6'\]"):
        decode.program(message, "main")
    main.block_specializations["CoreML7"].outputs.append("y")
    found = decode.program(message, "main")
    assert (found.opset, found.outputs, found.inputs) == ("CoreML7", ("y",), {"x": MilType("fp16", (1,))})
    with pytest.raises(MilError, match=r"function 'other' was expected, the program has \['main'\]"):
        decode.program(message, "other")


def test_an_array_of_the_interface_is_fixed_ranged_or_enumerated(features: Any) -> None:
    message = features.FeatureDescription(name="x")
    array = message.type.multiArrayType
    array.dataType = 65552
    array.shape.extend([1, 8])
    assert decode.feature(message) == Feature("x", "array", "fp16", (1, 8))
    array.shapeRange.sizeRanges.add(lowerBound=1, upperBound=-1)
    array.shapeRange.sizeRanges.add(lowerBound=8, upperBound=8)
    assert decode.feature(message).ranges == ((1, -1), (8, 8))
    array.enumeratedShapes.shapes.add(shape=[1, 8])
    array.enumeratedShapes.shapes.add(shape=[2, 8])
    found = decode.feature(message)
    assert (found.ranges, found.choices) == ((), ((1, 8), (2, 8)))


@pytest.mark.parametrize(
    ("space", "color", "channels"),
    [(10, "gray", 1), (20, "rgb", 3), (30, "bgr", 3), (40, "gray", 1), (0, "colour space 0", 0)],
)
def test_an_image_has_the_channels_of_its_colours(features: Any, space: int, color: str, channels: int) -> None:
    message = features.FeatureDescription(name="x")
    image = message.type.imageType
    image.colorSpace, image.height, image.width = space, 4, 6
    assert decode.feature(message) == Feature("x", "image", "fp32", (1, channels, 4, 6), color=color)
    image.imageSizeRange.heightRange.lowerBound, image.imageSizeRange.heightRange.upperBound = 4, 8
    image.imageSizeRange.widthRange.lowerBound, image.imageSizeRange.widthRange.upperBound = 6, -1
    assert decode.feature(message).ranges == ((1, 1), (channels, channels), (4, 8), (6, -1))
    image.enumeratedSizes.sizes.add(height=4, width=6)
    assert decode.feature(message).choices == ((1, channels, 4, 6),)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dictionaryType", "dictionary"),
        ("stringType", "scalar"),
        ("int64Type", "scalar"),
        ("stateType", "state"),
        ("doubleType", "doubleType"),
    ],
)
def test_what_is_no_array_has_a_kind(features: Any, kind: str, name: str) -> None:
    message = features.FeatureDescription(name="x")
    getattr(message.type, kind).SetInParent()
    assert decode.feature(message) == Feature("x", name)


def test_numbers_that_are_none_are_decoded(proto: Any) -> None:
    found = decode.literal(value(proto, 11, (2,), "floats", [math.inf, math.nan])).value
    assert isinstance(found, torch.Tensor)
    assert found[0] == math.inf
    assert found[1].isnan()
