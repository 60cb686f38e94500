"""The container of torch.save, zip or the older one, checked whole before torch reads it.

Torch itself checks no CRC, takes the last of two members of one name, and fills what it does not read with whatever
stands in memory: what the older format leaves out, a member that is marked as a directory.
"""

import copy
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign

from .pickle_claims import Claims, claims_of, refuse_claims
from .text import listed

PICKLES = 5  # of the older format: magic number, protocol, the writer's byte order, content, names of its storages
MAGIC = 0x1950A86A20F9469CFC6C  # its first pickle; source: torch.serialization.MAGIC_NUMBER


def refuse_unsound(path: Path) -> None:
    """Refuse a file whose container is damaged, ambiguous, or asks for values that it does not hold.

    Raises:
        CheckpointError: it is one.
    """
    try:
        if zipfile.is_zipfile(path) and _starts_as_zip(path):
            _refuse_unsound_zip(path)
        else:
            _refuse_unsound_pickles(path)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile's and pickletools', which raise what they like of a damaged file
        raise CheckpointError(
            f"expected a PyTorch checkpoint, {path} is truncated, damaged or something else ({foreign(error)})"
        ) from error


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _refuse_unsound_zip(path: Path) -> None:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _refuse_ambiguous(members, size, path)
        _refuse_altered(archive, members, path)
        pickles = [member for member in members if member.filename.partition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(
                f"expected a PyTorch checkpoint, {path} is an archive with {len(pickles)} data.pkl, where one is"
            )
        refuse_claims(claims_of(io.BytesIO(_content(archive, pickles[0]))), size, str(path))


def _refuse_ambiguous(members: Sequence[zipfile.ZipInfo], size: int, path: Path) -> None:
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(
            f"expected each member of the archive {path} once, found '{foreign(twice)}' twice: which one counts is "
            "not told; save the checkpoint again"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(
            f"expected the members of {path} as torch.save stores them, found compressed ones: unpack the archive and "
            "save the checkpoint again with torch.save"
        )
    if sum(member.file_size for member in members) > size:
        raise CheckpointError(f"expected members within the {size} bytes of {path}, found larger ones: it is damaged")


def _refuse_altered(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Compare every member, as torch reads it, with its checksum; or with what stands there, where none was computed.

    Torch's reader gives memory for a member that is marked as a directory, and for one that is said to be empty and
    large at once.
    """
    computed = any(member.CRC for member in members)  # all are 0 where torch was told to compute none
    with path.open("rb") as file:
        reader = torch._C.PyTorchFileReader(file)
        for member in members:
            name, size = member.filename.partition("/")[2], member.file_size
            if member.is_dir() and not size:
                continue
            if reader.get_record_size(name) == size:
                storage = reader.get_storage_from_record(name, size, torch.uint8).untyped_storage()
                read = torch.empty(0, dtype=torch.uint8).set_(storage)
                if zlib.crc32(read.numpy().data) == (member.CRC if computed else zlib.crc32(_content(archive, member))):
                    continue
            raise CheckpointError(
                f"expected members that fit their checksums, {path} was damaged in {foreign(member.filename)}: copy or "
                "download it again"
            )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member; zipfile itself would take a checksum that was not computed for a wrong one."""
    unchecked = copy.copy(member)
    del unchecked.CRC
    with archive.open(unchecked) as stream:
        return stream.read()


def _refuse_unsound_pickles(path: Path) -> None:
    """Read the pickles of the older format: magic number, protocol, byte order, content, list of storages."""
    size, found = path.stat().st_size, list[Claims]()
    with path.open("rb") as stream:
        while len(found) < PICKLES:
            found.append(claims_of(stream))
            if not found[-1].whole:
                return  # of a protocol that torch's reader refuses
            if found[0].value != MAGIC:
                if any(not name.startswith(("torch.", "collections.")) for name, _ in found[0].calls):
                    return  # torch's reader names what it wants to import
                raise CheckpointError(
                    f"expected a PyTorch checkpoint, {path} is a pickle that torch.save did not write: load it where "
                    "it can be trusted, and save its state dict with torch.save"
                )
    content, keys = found[-2:]
    refuse_claims(content, size, str(path))
    stored = {key for key in keys.value if isinstance(key, str)} if isinstance(keys.value, list) else set()
    if missing := sorted({storage.key for storage in content.storages} - stored):
        raise CheckpointError(
            f"expected the values of every tensor in {path}, found none for its storages "
            f"{listed([foreign(key) for key in missing])}: the file is damaged or incomplete"
        )
    if sum({storage.key: storage.elements for storage in content.storages}.values()) > size:
        raise CheckpointError(f"expected tensors within the {size} bytes of {path}, found larger ones: it is damaged")
