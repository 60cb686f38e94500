"""Files that hold tensors: safetensors, read tensor by tensor, and what torch.save writes, read without running code.

What a file is stands in its first bytes, not in its name.
"""

import pickle
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slide_export.core import typed_json
from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign

from .other_files import what_it_is
from .stand_ins import PlainDict, PlainList, StandIn, identifier, is_allowed, stand_in
from .torch_container import refuse_unsound

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}  # of safetensors' header


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file, not necessarily in memory.

    Attributes:
        like: a tensor of its shape and type without memory of its own; of one that is not dense, the tensor itself.
        read: bring it into memory.
        read_into: the same into a contiguous tensor of its shape and type; None where the file is read as a whole.
    """

    like: Tensor
    read: Callable[[], Tensor]
    read_into: Callable[[Tensor], None] | None = None


Tensors = Mapping[str, StoredTensor]


class _Reader(Mapping[str, Tensor]):
    """A file's tensors, each read when it is asked for and kept by nobody."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key].read()

    def joined(self, keys: Sequence[str]) -> Tensor:
        """The tensors below each other, each read to its place: queries, keys and values of separate layers.

        Given   three tensors [C, C] in a file
        Result  one [3C, C], and never a second copy of any
        """
        parts = [self.tensors[key] for key in keys]
        alike = {(part.like.dtype, part.like.shape[1:]) for part in parts}
        if len(alike) > 1 or not all(part.like.ndim and part.read_into for part in parts):
            return torch.cat([part.read() for part in parts])
        rows = [part.like.shape[0] for part in parts]
        whole = torch.empty((sum(rows), *parts[0].like.shape[1:]), dtype=parts[0].like.dtype)
        for place, part in zip(whole.split(rows), parts, strict=True):
            if part.read_into is not None:
                part.read_into(place)
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def reading(tensors: Tensors) -> _Reader:
    """See stored tensors as their values, each read when it is asked for."""
    return _Reader(tensors)


def in_memory(tensor: Tensor) -> StoredTensor:
    """Take a tensor that is in memory for a stored one."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and not tensor.is_nested
    dense = plain and tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta
    return StoredTensor(shaped(tensor.shape, tensor.dtype) if dense else tensor, lambda: tensor.detach())


def shaped(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Make a tensor of a shape that takes the memory of one number.

    A "meta" tensor takes none, but torch joins those in Python, whose import costs more than reading a model.
    """
    return torch.empty((), dtype=dtype).expand(tuple(shape))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of the header, then the header, a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) < 9 or start[8:9] != b"{":
        return False
    return 2 <= int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def read_safetensors(path: Path) -> tuple[dict[str, StoredTensor], Mapping[str, str]]:
    """Read the names and shapes of a safetensors file, and its metadata.

    safetensors' own reader checks the header; the tensors are read by their offsets, because it maps the whole file,
    and every page that was touched counts as memory until it is closed.

    Raises:
        CheckpointError: the file is damaged, or holds a type that this build of torch lacks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"expected a safetensors file, {path} is damaged or something else ({foreign(error)})"
        ) from error
    with path.open("rb") as raw:
        (length,) = struct.unpack("<Q", raw.read(8))
        header = _header(raw.read(length), path)
    metadata = header.pop("__metadata__", {})
    if strange := sorted({entry["dtype"] for name, entry in header.items() if name in names} - DTYPES.keys()):
        raise CheckpointError(f"expected weights in float, {path} holds {', '.join(strange)}: a quantized file")
    return {name: _stored(path, 8 + length, header[name]) for name in header}, metadata


def _header(content: bytes, path: Path) -> dict[str, Any]:
    """Read a header that safetensors took; a name that stands twice in it is refused.

    Raises:
        CheckpointError: Python cannot read it, or a name stands twice.
    """
    try:
        header: dict[str, Any] = typed_json.parse(content)
    except ValueError as error:
        raise CheckpointError(f"expected a safetensors file, {path} is damaged ({foreign(error)})") from error
    return header


def _stored(path: Path, data: int, entry: Mapping[str, Any]) -> StoredTensor:
    shape, dtype, (start, end) = entry["shape"], DTYPES[entry["dtype"]], entry["data_offsets"]

    def read() -> Tensor:
        """Read the tensor's bytes from the file, once it is asked for."""
        tensor = torch.empty(shape, dtype=dtype)
        read_into(tensor)
        return tensor

    def read_into(tensor: Tensor) -> None:
        """Fill a tensor with the bytes."""
        with path.open("rb", buffering=0) as file:
            file.seek(data + start)
            buffer, done = tensor.reshape(-1).view(torch.uint8).numpy(), 0
            while done < end - start:  # one call reads at most 2 GiB
                count = file.readinto(buffer[done:].data)
                if not count:
                    raise CheckpointError(
                        f"expected {end - start} bytes of a tensor in {path}, found {done}: it changed meanwhile"
                    )
                done += count

    return StoredTensor(shaped(shape, dtype), read, read_into)


def read_torch(path: Path) -> Any:
    """Read what torch.save wrote; classes beside the weights become inert stand-ins, and nothing in the file is run.

    Raises:
        CheckpointError: the file is damaged, something else, or asks for what could run code.
    """
    if told := what_it_is(path):
        raise CheckpointError(f"expected a PyTorch checkpoint, {path} is {told}")
    refuse_unsound(path)
    kinds = _named_globals(path)
    refused: set[str] = set()
    for _ in range(1000):  # each turn names one more class
        try:
            return _load(path, kinds)
        except pickle.UnpicklingError as error:
            asked = _next_kind(str(error), kinds)
            if asked is None or asked in refused:
                raise _refusal(path, str(error)) from error
            refused.add(asked)
        except Exception as error:  # whatever torch's reader lets through of a file that is none of its own
            raise CheckpointError(
                f"expected a PyTorch checkpoint, {path} is truncated, damaged or something else"
            ) from error
    raise CheckpointError(f"expected a PyTorch checkpoint, {path} names more than 1000 classes")


def _load(path: Path, kinds: Mapping[str, type[Any]]) -> Any:
    allowed: list[Any] = [(stand_in(name, kind), name) for name, kind in kinds.items()]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of typed storages and pickle protocols, about the file and not for its reader
        return torch.load(path, map_location="cpu", weights_only=True)


def _named_globals(path: Path) -> dict[str, type[Any]]:
    """List the classes that a file of torch's zip format names and that may stand inert."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever torch's reader lets through
        return {}  # the older format: its classes are named as they are met
    return {name: StandIn for name in names if is_allowed(name)}


def _next_kind(message: str, kinds: dict[str, type[Any]]) -> str | None:
    """Add what the unpickler asked for to `kinds`, and say what changed; None where it cannot have it."""
    if asked := re.search(r"GLOBAL (\S+) was not an allowed global", message):
        for name in (asked[1], f"builtins.{asked[1]}"):
            if is_allowed(name):
                kinds[name] = StandIn
                return name
        return None
    filled = re.search(r"Can only (\w+) .*<class '(?:[\w.]*\.)?(\w+)'>", message)
    for name in kinds if filled else ():
        if filled and identifier(name) == filled[2]:
            kinds[name] = PlainList if filled[1] in ("append", "extend") else PlainDict
            return f"{name} {filled[1]}"
    return None


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle of protocol 2 or later does, alone or in torch.save's zip."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _refusal(path: Path, message: str) -> CheckpointError:
    if wants := re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", message):
        whole = wants[1].startswith(("torch.nn.modules.", "torchvision.models.")) or ".models." in wants[1]
        what = "which is a whole pickled model: " if whole else "which could run code: "
        return CheckpointError(
            f"expected tensors and plain values, {path} asks to import {foreign(wants[1])}, {what}"
            "save the state dict alone (torch.save(model.state_dict(), ...)) and export that"
        )
    if _is_pickle(path) and ("Unsupported operand" in message or "pickle protocol" in message):
        return CheckpointError(
            f"expected a PyTorch checkpoint of pickle protocol 2, torch.save's own, {path} has another one or is "
            "damaged: save it again where it can be trusted (torch.save(torch.load(path, weights_only=False), path))"
        )
    return CheckpointError(f"expected a PyTorch checkpoint, {path} is none or is damaged")
