"""A container that is damaged, ambiguous or without its values is refused before torch fills it with memory."""

import _codecs
import io
import itertools
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slide_export.checkpoint.pickle_claims import claims_of
from slide_export.checkpoint.tensor_files import read_torch
from slide_export.core.errors import CheckpointError

STATE = {"head.weight": torch.arange(12.0).reshape(3, 4), "head.bias": torch.arange(3.0)}


class Called:
    """An object that is pickled as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def saved(path: Path, content: Any = STATE, *, checksums: bool = True, **options: Any) -> Path:
    torch.serialization.set_crc32_options(checksums)
    try:
        torch.save(content, path, **options)
    finally:
        torch.serialization.set_crc32_options(True)
    return path


def packed(path: Path, twice: str = "", **options: Any) -> Path:
    """Write the archive of a sound file anew, one member twice where it is named."""
    with zipfile.ZipFile(saved(path.with_suffix(".sound"))) as sound, zipfile.ZipFile(path, "w", **options) as file:
        for name in sound.namelist():
            file.writestr(name, sound.read(name))
            if twice and name.endswith(twice):
                with pytest.warns(UserWarning, match="Duplicate name"):
                    file.writestr(name, bytes(len(sound.read(name))))
    return path


@pytest.mark.parametrize("where", ["data/0", "data.pkl"])
def test_a_byte_that_does_not_fit_its_checksum_is_refused(where: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth")
    with zipfile.ZipFile(path) as file:
        member = file.getinfo(f"model/{where}")
        content = file.read(member)
    data = path.read_bytes()
    at = data.index(content)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(CheckpointError, match=f"damaged in model/{where}: copy or download it again"):
        read_torch(path)


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize(("at", "value"), [(38, 0x10), (20, 0)], ids=["a directory", "empty"])
def test_a_member_that_torchs_reader_leaves_out_is_refused(
    at: int, value: int, checksums: bool, tmp_path: Path
) -> None:
    path = saved(tmp_path / "model.pth", checksums=checksums)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"model/data/0") - 46  # of the archive's list: 46 bytes, then the name
    assert data[entry : entry + 4] == b"PK\1\2"
    data[entry + at] = value
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged"):
        read_torch(path)


def test_no_bit_of_a_members_headers_or_of_the_lists_end_changes_what_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth", {"head.bias": torch.arange(3.0)})
    sound, refused = path.read_bytes(), 0
    with zipfile.ZipFile(path) as file:
        header = file.getinfo("model/data/0").header_offset
    entry, end = sound.rindex(b"model/data/0") - 46, sound.rindex(b"PK\5\6")
    places = [*range(header, header + 30), *range(entry, entry + 46), *range(end, len(sound))]
    for place, bit in itertools.product(places, range(8)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            read = read_torch(path)
        except CheckpointError:
            refused += 1
        else:
            assert torch.equal(read["head.bias"], torch.arange(3.0)), f"bit {bit} of byte {place}"
    assert refused > 200


def test_checksums_that_torch_did_not_compute_are_none(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth", checksums=False)
    assert torch.equal(read_torch(path)["head.weight"], STATE["head.weight"])


def test_a_member_twice_and_compressed_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found 'model/data/0' twice"):
        read_torch(packed(tmp_path / "model.pth", twice="data/0"))
    with pytest.raises(CheckpointError, match="found compressed ones"):
        read_torch(packed(tmp_path / "small.pth", compression=zipfile.ZIP_DEFLATED))
    assert torch.equal(read_torch(packed(tmp_path / "sound.pth"))["head.bias"], STATE["head.bias"])


def test_a_storage_that_the_older_format_leaves_out_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    stream = io.BytesIO(path.read_bytes())
    content = [claims_of(stream) for _ in range(4)][-1]
    before, keys = stream.tell(), pickle.load(stream)
    left_out = path.read_bytes()[:before] + pickle.dumps(keys[1:], protocol=2) + path.read_bytes()[stream.tell() :]
    assert {storage.key for storage in content.storages} == set(keys)
    path.write_bytes(left_out)
    with pytest.raises(CheckpointError, match=f"found none for its storages {keys[0]}"):
        read_torch(path)


ASKED = {
    "a tensor of some size": (Called(torch.Tensor, 10, 128), r"asks for a torch\.Tensor without values"),
    "a buffer of some size": (Called(bytearray, 3 * 10**9), "asks for 3000000000 bytes without values"),
    "an encoding that takes minutes": (Called(_codecs.encode, "é" * 300, "punycode"), "another encoding"),
    "a view of one number": (torch.zeros(1).expand(1 << 15, 1 << 15), "asks for a tensor of 1073741824 numbers"),
    "a number of a thousand digits": (10**5000, "a whole number of 16610 bits"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ASKED)
def test_what_the_file_does_not_hold_is_refused_before_it_is_made(name: str, zipped: bool, tmp_path: Path) -> None:
    value, sentence = ASKED[name]
    path = saved(tmp_path / "model.pth", {**STATE, "more": value}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=sentence):
        read_torch(path)


def test_a_key_that_takes_years_to_hash_is_refused(tmp_path: Path) -> None:
    nested: tuple[Any, ...] = ()
    for _ in range(64):
        nested = (nested, nested)
    body = b"\x80\x02})" + b"q\x00h\x00\x86" * 64 + b"K\x01s."
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as file:
        for member, content in (("data.pkl", body), ("version", b"3\n"), ("byteorder", b"little")):
            file.writestr(f"model/{member}", content)
    with pytest.raises(CheckpointError, match=r"a tuple of \d+ items"):
        read_torch(tmp_path / "model.pth")


def test_views_and_what_is_called_honestly_load(tmp_path: Path) -> None:
    content = {
        "turned": STATE["head.weight"].T,
        "expanded": torch.ones(1).expand(4, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "bytes": b"\xff",
        "buffer": bytearray(b"abc"),
        "half": torch.ones(3, dtype=torch.float16),
    }
    for zipped in (True, False):
        found = read_torch(saved(tmp_path / f"{zipped}.pth", content, _use_new_zipfile_serialization=zipped))
        assert torch.equal(found["turned"], content["turned"])
        assert found["buffer"] == content["buffer"]
