"""Sections, strings and tensors of a program's file, made here byte by byte: no runtime is needed."""

from pathlib import Path

import pytest

from slide_export.backends.coreai import bytecode
from slide_export.backends.coreai.bytecode import ALIGNED, FILL, RESOURCE_OFFSETS, RESOURCES, STRINGS, Reader, Section
from slide_export.core.errors import BundleError

NAMES = ["main", "resource_321910016674080948", "layer_norm_oekofcyg"]
TENSOR = bytes(range(48))


def resources() -> tuple[bytes, bytes]:
    """A tensor at a place that is a multiple of 16, and where it is."""
    blob = bytes([16 << 1 | 1, len(TENSOR) << 1 | 1]) + bytes(14) + TENSOR
    return blob, bytes([1, 0 << 1 | 1, 1 << 1 | 1, 1 << 1 | 1, len(blob) << 1 | 1, bytecode.BLOB])


@pytest.fixture
def program() -> bytecode.Bytecode:
    blob, offsets = resources()
    sections = (
        Section(RESOURCE_OFFSETS, 0, memoryview(offsets)),
        Section(RESOURCES, 16, memoryview(blob)),
        Section(STRINGS, 0, bytecode._table(NAMES)),
        Section(8, 0, memoryview(b"rest")),
    )
    return bytecode.Bytecode(bytecode.MAGIC + b"\x0dMLIR\0", sections)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**32, 2**56 - 1, 2**56, 2**64 - 1])
def test_a_number_is_read_as_it_was_written(value: int) -> None:
    written = bytecode._number(value)
    reader = Reader(memoryview(written))
    assert reader.number() == value
    assert not reader.left


def test_numbers_are_as_the_format_says() -> None:
    """Source: mlir/docs/BytecodeFormat.md, "Variable-Width Integers": xxxxxxx1, xxxxxx10 ..."""
    assert bytecode._number(2) == bytes([0b101])
    assert bytecode._number(128) == bytes([0b00000010, 0b10])


def test_a_file_is_read_as_it_was_written(program: bytecode.Bytecode, tmp_path: Path) -> None:
    file = tmp_path / "main.mlirb"
    file.write_bytes(program.written())
    found = bytecode.read(file)
    assert found.strings == tuple(NAMES)
    assert [(name, bytes(data)) for name, data in bytecode.blobs(found)] == [(NAMES[1], TENSOR)]
    assert found.written() == program.written()
    assert bytes([FILL]) in program.written()
    assert program.written().index(TENSOR) % 16 == 0


def test_longer_strings_move_nothing_that_is_aligned(program: bytecode.Bytecode) -> None:
    changed = program.with_strings(lambda text: text + "_and_more")
    again = bytecode.parse(memoryview(changed.written()))
    assert again.strings == tuple(f"{name}_and_more" for name in NAMES)
    assert again.section(RESOURCES) == program.section(RESOURCES)
    assert again.section(8) == b"rest"


def test_what_is_no_program_is_refused(program: bytecode.Bytecode, tmp_path: Path) -> None:
    whole = program.written()
    for text in (b"", b"ML", b"nothing", whole[:-1], whole[:20], whole + bytes([ALIGNED])):
        (tmp_path / "main.mlirb").write_bytes(text)
        with pytest.raises(BundleError, match=r"expected a program of Core AI in main\.mlirb"):
            bytecode.read(tmp_path / "main.mlirb")
