"""A program's bytecode, read: its strings, its weights, and how it is written with other strings.

A `.mlirb` is a header and sections. What is read here are those of strings and of resources, the tensors that the
program names; what the program does with them is left to Core AI's own reader.

Source: llvm/llvm-project, mlir/docs/BytecodeFormat.md (version 6), and mlir/lib/Bytecode/Writer/BytecodeWriter.cpp
`writeResourceSection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slide_export.core.errors import BundleError

MAGIC = b"ML\xefR"
STRINGS, RESOURCES, RESOURCE_OFFSETS = 0, 5, 6
"""Numbers of the sections that are read."""
ALIGNED, FILL = 0x80, 0xCB
BLOB = 0
"""The kind of resource that is bytes; others are flags and texts."""


@dataclass(frozen=True)
class Section:
    """A part of the file.

    Attributes:
        alignment: what its place in the file is a multiple of; 0 where that does not matter.
    """

    number: int
    alignment: int
    content: memoryview


@dataclass(frozen=True)
class Bytecode:
    """A program's file, in its sections.

    Attributes:
        head: what stands before the first of them.
    """

    head: bytes
    sections: tuple[Section, ...]

    def section(self, number: int) -> memoryview:
        """Content of a section; empty where there is none."""
        return next((one.content for one in self.sections if one.number == number), memoryview(b""))

    @property
    def strings(self) -> tuple[str, ...]:
        """Every name and text, in their order."""
        return _strings(Reader(self.section(STRINGS)))

    def with_strings(self, change: Callable[[str], str]) -> Bytecode:
        """Copy in which each string is what `change` makes of it."""
        made = _table([change(one) for one in self.strings])
        changed = (replace(one, content=made) if one.number == STRINGS else one for one in self.sections)
        return replace(self, sections=tuple(changed))

    def written(self) -> bytes:
        """The file."""
        out = bytearray(self.head)
        for one in self.sections:
            out.append(one.number | (ALIGNED if one.alignment else 0))
            out += _number(len(one.content))
            if one.alignment:
                out += _number(one.alignment)
                out += bytes([FILL]) * (-len(out) % one.alignment)
            out += one.content
        return bytes(out)


def read(path: Path) -> Bytecode:
    """Read a file.

    Raises:
        BundleError: it is no bytecode.
    """
    try:
        data = memoryview(path.read_bytes())
        return parse(data)
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"expected a program of Core AI in {path.name}, found none: {error}") from error


def parse(data: memoryview) -> Bytecode:
    """The sections of a file.

    Raises:
        ValueError, IndexError: it is none, or is cut off.
    """
    reader = Reader(data)
    if bytes(reader.take(4)) != MAGIC:
        raise ValueError("it does not begin as one")
    reader.number()  # version
    reader.text()  # producer
    head, sections = bytes(data[: reader.at]), []
    while reader.at < len(data):
        kind = reader.byte()
        size = reader.number()
        alignment = reader.number() if kind & ALIGNED else 0
        reader.align(alignment)
        sections.append(Section(kind & ~ALIGNED, alignment, reader.take(size)))
    return Bytecode(head, tuple(sections))


def blobs(bytecode: Bytecode) -> Iterator[tuple[str, memoryview]]:
    """Name and bytes of each tensor that the program stores apart from its operations, in the file's order.

    Raises:
        ValueError, IndexError: the sections do not fit each other.
    """
    strings, offsets = bytecode.strings, Reader(bytecode.section(RESOURCE_OFFSETS))
    data = Reader(bytecode.section(RESOURCES))
    if offsets.left and offsets.number():
        raise ValueError("it has resources of other programs")
    while offsets.left:
        offsets.number()  # the dialect, a set of operations, that they belong to
        for _ in range(offsets.number()):
            name, size, kind = strings[offsets.number()], offsets.number(), offsets.byte()
            end = data.at + size
            if kind == BLOB:
                alignment, count = data.number(), data.number()
                data.align(alignment)
                yield name, data.take(count)
            if data.at > end:
                raise ValueError("a tensor is larger than its place")
            data.at = end


class Reader:
    """Numbers and texts, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> bool:
        """Whether anything is left."""
        return self.at < len(self.data)

    def byte(self) -> int:
        """The next byte."""
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if count > len(self.data) - self.at:
            raise ValueError("it is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """The next whole number: zeros below the first one of its first byte tell how many bytes follow."""
        first = self.data[self.at]
        count = 9 if first == 0 else (first & -first).bit_length()
        taken = int.from_bytes(self.take(count), "little")
        return taken >> (8 if count == 9 else count)

    def text(self) -> str:
        """The next text that ends with a zero."""
        start = self.at
        while self.byte():
            pass
        return bytes(self.data[start : self.at - 1]).decode()

    def align(self, alignment: int) -> None:
        """Go on to the next place that is a multiple of this."""
        if alignment:
            self.at += -self.at % alignment


def _strings(reader: Reader) -> tuple[str, ...]:
    """Strings of their section: how many, the length of each from the last to the first, then all of them."""
    sizes = [reader.number() for _ in range(reader.number())] if reader.left else []
    return tuple(bytes(reader.take(size)[:-1]).decode() for size in reversed(sizes))


def _table(strings: list[str]) -> memoryview:
    texts = [one.encode() + b"\0" for one in strings]
    sizes = b"".join(_number(len(one)) for one in reversed(texts))
    return memoryview(_number(len(texts)) + sizes + b"".join(texts))


def _number(value: int) -> bytes:
    """A whole number as `Reader.number` reads it."""
    count = max(1, -(-value.bit_length() // 7))
    if count > 8:
        return b"\0" + value.to_bytes(8, "little")
    return ((value << count) | (1 << (count - 1))).to_bytes(count, "little")
