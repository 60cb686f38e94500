"""Values of a program: how types are written, what is constant, and where operands stand."""

import pytest
import torch

from slide_export.mil.program import FLOAT_TYPES, STORAGE, Literal, MilType, Operation, Reference

NAME = Literal(MilType("string"), "joined")


def test_a_type_is_written_with_its_unknown_sizes() -> None:
    assert str(MilType("fp16", (1, None, 3))) == "fp16[1, ?, 3]"
    assert str(MilType("bool")) == "bool[]"


@pytest.mark.parametrize(
    ("kind", "constant"),
    [("const", True), ("constexpr_cast", True), ("constexpr_lut_to_dense", True), ("constant", False), ("conv", False)],
)
def test_constants_are_told_by_their_type(kind: str, constant: bool) -> None:
    assert Operation(kind, "a", {}, {}, ()).is_constant is constant


def test_operands_are_inputs_and_attributes_but_the_name() -> None:
    lut = Literal(MilType("fp16"), torch.ones(()))
    found = Operation("constexpr", "a", {"x": (Reference("b"),)}, {"name": NAME, "lut": lut}, ())
    assert dict(found.bindings()) == {"x": (Reference("b"),), "lut": (lut,)}
    assert str(found) == "constexpr 'a'"


@pytest.mark.parametrize("element", [name for name in STORAGE if name not in FLOAT_TYPES and name != "bool"])
def test_a_whole_number_fits_what_stores_it(element: str) -> None:
    """All values of the declared width, but the upper half of uint64, which no signed type of torch has."""
    bits, unsigned = int(element.removeprefix("u").removeprefix("int")), element.startswith("u")
    limits = torch.iinfo(STORAGE[element])
    lowest, highest = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert limits.min <= lowest
    assert limits.max >= (highest if element != "uint64" else 2**63 - 1)


def test_floats_are_held_in_float32() -> None:
    assert {STORAGE[element] for element in FLOAT_TYPES} == {torch.float32}
    assert "bf16" not in STORAGE
