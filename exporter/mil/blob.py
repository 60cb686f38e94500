"""Our own reader of an ML Program's weight file, `weights/weight.bin`.

Layout: a 64-byte header (entry count, format version 2), then entries. Each entry is 64 bytes of metadata (sentinel,
element type, size in bytes, offset of the data, unused bits of the last byte, reserved) and the data, both on 64-byte
boundaries. A program names an entry by the offset of its metadata. Elements below one byte are packed from the least
significant bit on, without regard to byte boundaries.

Source: apple/coremltools, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` (`blob_metadata`, `storage_header`) and
`BlobDataType.hpp`; the packing: coremltools 9.0 `converters/mil/mil/ops/defs/iOS16/constexpr_ops.py`, docstrings.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .errors import MilError
from .program import STORAGE

SENTINEL = 0xDEADBEEF
HEADER_BYTES = 64
METADATA = struct.Struct("<IIQQQ")
VERSION = 2

# BlobDataType.hpp; bfloat16 (5) and the two float8 (16, 17) are known to the file format but not to this evaluator.
ELEMENTS = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}
PACKED_BITS = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}
WHOLE_BYTES = {
    "bool": "<?",
    "fp16": "<f2",
    "fp32": "<f4",
    "fp64": "<f8",
    "int8": "<i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "uint8": "<u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
}


def unpack_bits(packed: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint8]:
    """Elements of `bits` bits each, shape (count,), read from the least significant bit of each byte on.

    Args:
        packed: the bytes, shape (ceil(bits * count / 8),).
        bits: 1 to 8.
        count: number of elements.
    """
    if packed.size * 8 < bits * count:
        raise MilError(
            f"{count} elements of {bits} bits were expected, found {packed.size} bytes: the data is cut short"
        )
    # -> [count, bits], the lowest bit first
    digits = np.unpackbits(packed, bitorder="little")[: bits * count].reshape(count, bits)
    return np.asarray(np.packbits(digits, axis=1, bitorder="little")[:, 0])


def decode(data: npt.NDArray[np.uint8], element: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of `shape` in the storage type of `element`, from its little-endian bytes.

    Args:
        data: the bytes, shape (N,).
        element: MIL element type, `int4` for instance.
        shape: every size known.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if element in PACKED_BITS:
        values = unpack_bits(data, PACKED_BITS[element], count)
        if element == "int4":  # two's complement: 8..15 stand for -8..-1
            values = np.where(values > 7, values.astype(np.int16) - 16, values).astype(np.int8)
    elif element in WHOLE_BYTES:
        values = np.frombuffer(data.tobytes(), WHOLE_BYTES[element])
    else:
        raise MilError(f"element type {element!r} is not implemented; implemented: {', '.join(sorted(STORAGE))}")
    if values.size != count:
        raise MilError(f"{count} elements of {element} were expected for shape {shape}, found {values.size}")
    if element in ("uint16", "uint32", "uint64"):
        values = values.astype(np.int64)  # as `STORAGE`: a wider signed type
    return torch.from_numpy(values.reshape(shape).copy()).to(STORAGE[element])


@dataclass(frozen=True)
class BlobFile:
    """A weight file, mapped into memory; entries are decoded when they are asked for.

    Attributes:
        path: where it was read from, for messages.
        data: its bytes, shape (N,).
        count: number of entries that the header states.
    """

    path: Path
    data: npt.NDArray[np.uint8]
    count: int

    @classmethod
    def read(cls, path: Path) -> BlobFile:
        """The weight file at `path`.

        Raises:
            MilError: it is shorter than a header, or not of format version 2.
        """
        if not path.is_file() or path.stat().st_size < HEADER_BYTES:
            raise MilError(f"a weight file of at least {HEADER_BYTES} bytes was expected at {path}")
        data = np.memmap(path, dtype=np.uint8, mode="r")  # a page is read when an entry on it is decoded
        count, version = struct.unpack_from("<II", data[:HEADER_BYTES].tobytes())
        if version != VERSION:
            raise MilError(f"{path}: weight file format {VERSION} was expected, found {version}")
        return cls(path, data, count)

    def tensor(self, offset: int, element: str, shape: tuple[int, ...]) -> torch.Tensor:
        """The entry whose metadata starts at byte `offset`, as a tensor of `shape`.

        Raises:
            MilError: no entry starts there, its type is not `element`, or its data does not fill `shape`.
        """
        head = self.data[offset : offset + METADATA.size].tobytes()
        if len(head) < METADATA.size:
            raise MilError(f"{self.path}: no entry at byte {offset}: the file has {self.data.size} bytes")
        sentinel, code, size, start, _unused_bits = METADATA.unpack(head)
        if sentinel != SENTINEL:
            raise MilError(f"{self.path}: entry at byte {offset} starts with {sentinel:#x}, not with {SENTINEL:#x}")
        stored = ELEMENTS.get(code, f"type code {code}")
        # Booleans have no code of their own and are stored as uint8.
        if stored != element and (stored, element) != ("uint8", "bool"):
            raise MilError(f"{self.path}: entry at byte {offset} holds {stored}, the program declares {element}")
        if start + size > self.data.size:
            raise MilError(f"{self.path}: entry at byte {offset} ends beyond the file; it is cut short")
        return decode(self.data[start : start + size], element, shape)
