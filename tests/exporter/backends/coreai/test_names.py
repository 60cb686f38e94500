"""Names that are drawn anew in each process become such that follow from the program."""

from slide_export.backends.coreai import bytecode, names
from slide_export.backends.coreai.bytecode import Bytecode, Section
from tests.exporter.backends.coreai.test_bytecode import resources


def program(*strings: str) -> Bytecode:
    blob, offsets = resources()
    sections = (
        Section(bytecode.RESOURCE_OFFSETS, 0, memoryview(offsets)),
        Section(bytecode.RESOURCES, 16, memoryview(blob)),
        Section(bytecode.STRINGS, 0, bytecode._table(list(strings))),
    )
    return Bytecode(bytecode.MAGIC, sections)


def test_two_processes_names_become_the_same_ones() -> None:
    one = program("main", "resource_321910016674080948", "layer_norm_oekofcyg", "layer_norm_yhczwepn", "logits")
    two = program("main", "resource_17", "layer_norm_aaaaaaaa", "layer_norm_bbbbbbbb", "logits")
    first = names.steady(one, ["layer_norm_oekofcyg", "layer_norm_yhczwepn", "main"])
    second = names.steady(two, ["layer_norm_aaaaaaaa", "layer_norm_bbbbbbbb", "main"])
    assert first.written() == second.written()
    assert first.strings[2:] == ("layer_norm_0", "layer_norm_1", "logits")


def test_a_name_of_the_users_stays() -> None:
    kept = program("main", "resource_1", "stage_features", "features")
    assert names.steady(kept, ["main"]).strings[2:] == ("stage_features", "features")


def test_a_tensors_name_is_of_its_bytes() -> None:
    made, named = program("main", "resource_1"), program("main", "resource_2")
    blob = bytearray(named.sections[1].content)
    blob[-1] ^= 1
    other = Bytecode(named.head, (named.sections[0], Section(5, 16, memoryview(bytes(blob))), named.sections[2]))
    assert names.steady(made, ["main"]).strings[1] == names.steady(named, ["main"]).strings[1]
    assert names.steady(made, ["main"]).strings[1] != names.steady(other, ["main"]).strings[1]
