import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from slide_export.mil import MilError
from slide_export.mil.blob import BlobFile, decode, unpack_bits


def weight_file(path: Path, code: int, data: bytes, sentinel: int = 0xDEADBEEF) -> Path:
    header = struct.pack("<II56x", 1, 2)
    metadata = struct.pack("<IIQQQ32x", sentinel, code, len(data), 128, 0)
    path.write_bytes(header + metadata + data)
    return path


def test_fp16_entry(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [0.25, 65504.0]], np.float16)
    blob = BlobFile.read(weight_file(tmp_path / "weight.bin", 1, values.tobytes()))
    assert torch.equal(blob.tensor(64, "fp16", (2, 2)), torch.from_numpy(values.astype(np.float32)))


def test_three_bit_elements_cross_byte_boundaries() -> None:
    elements = [5, 2, 7, 1, 0, 6]
    number = sum(element << (3 * i) for i, element in enumerate(elements))  # LSB first, independent of numpy
    packed = np.frombuffer(number.to_bytes(3, "little"), np.uint8)
    assert unpack_bits(packed, 3, 6).tolist() == elements


def test_int4_is_two_s_complement() -> None:
    assert decode(np.array([0x8F, 0x07], np.uint8), "int4", (3,)).tolist() == [-1, -8, 7]


def test_wrong_sentinel_is_named(tmp_path: Path) -> None:
    blob = BlobFile.read(weight_file(tmp_path / "weight.bin", 1, b"\0\0", sentinel=0xDEADBEE0))
    with pytest.raises(MilError, match="0xdeadbee0"):
        blob.tensor(64, "fp16", (1,))


def test_other_type_than_declared_is_named(tmp_path: Path) -> None:
    blob = BlobFile.read(weight_file(tmp_path / "weight.bin", 3, b"\0\0"))
    with pytest.raises(MilError, match="holds uint8, the program declares fp16"):
        blob.tensor(64, "fp16", (1,))


def test_truncated_entry_is_named(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "weight.bin", 2, b"\0" * 8)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(MilError, match="cut short"):
        BlobFile.read(path).tensor(64, "fp32", (2,))
