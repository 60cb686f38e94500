"""Bytes of what a package stores, once a place, and which products have weights that are decompressed."""

from pathlib import Path

import pytest
import torch

from slide_export.backends.coreml.dtypes import _bytes, _compressed, _numpy_name, _stored
from slide_export.mil import Operation, Package
from slide_export.mil.program import Literal, MilType, Output, Program, Reference


def package(*operations: Operation) -> Package:
    return Package(Path("model.mlpackage"), (), (), Program("CoreML7", {}, operations, ()), {})


@pytest.mark.parametrize(
    ("element", "shape", "size"),
    [
        ("fp16", (2, 3), 12),
        ("fp32", (2, 3), 24),
        ("int8", (5,), 5),
        ("uint4", (5,), 3),  # of 20 bits
        ("uint4", (4,), 2),
        ("uint6", (4,), 3),
        ("uint1", (9,), 2),
        ("bool", (3,), 3),
        ("fp16", (), 2),
        ("fp16", (2, None), 0),
    ],
)
def test_values_narrower_than_a_byte_share_one(element: str, shape: tuple[int | None, ...], size: int) -> None:
    assert _bytes(MilType(element, shape)) == size


def test_types_have_numpys_names() -> None:
    assert [_numpy_name(element) for element in ("fp16", "fp32", "int8")] == ["float16", "float32", "int8"]


def test_a_place_in_the_weight_file_counts_once_and_a_float_in_the_program_each_time() -> None:
    kept = Literal(MilType("fp16", (4,)), None, "weights/weight.bin", 64)
    other = Literal(MilType("fp16", (4,)), None, "weights/weight.bin", 128)
    written = Literal(MilType("fp32", ()), torch.ones(()))
    axis = Literal(MilType("int32", ()), torch.ones((), dtype=torch.int32))
    found = package(
        Operation("const", "a", {}, {"val": kept}, ()),
        Operation("const", "b", {}, {"val": kept}, ()),
        Operation("const", "c", {}, {"val": other}, ()),
        Operation("add", "d", {"x": (written,), "y": (written,)}, {"axis": axis}, ()),
    )
    assert _stored(found) == {"float16": 16, "float32": 8}


def test_a_product_counts_where_its_weight_is_decompressed() -> None:
    def made(kind: str, name: str, *takes: str) -> Operation:
        inputs = {f"x{index}": (Reference(one),) for index, one in enumerate(takes)}
        return Operation(kind, name, inputs, {}, (Output(name, MilType("fp16", (1,))),))

    packed, plain = made("constexpr_lut_to_dense", "w"), made("const", "v")
    products = [made("conv", "a", "x", "w"), made("linear", "b", "x", "v"), made("matmul", "c", "x", "y")]
    assert _compressed(package(packed, plain, *products), products) == 1
