"""A saved asset: the folder, its checks, what it stores and what it computes.

Given a folder `model.aimodel`:

    main.mlirb      the program, bytecode of MLIR
    main.hash       sha256 of that file, 32 bytes
    metadata.json   who made it
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import BundleError

from . import bytecode
from .vendor import Operation, operations

SUFFIX = ".aimodel"
PROGRAM, HASH, METADATA = "main.mlirb", "main.hash", "metadata.json"
KINDS = {"f16": "float16", "f32": "float32", "f64": "float64", "i1": "bool"} | {
    f"{sign}{bits}": f"{name}{bits}" for bits in (8, 16, 32, 64) for sign, name in (("si", "int"), ("ui", "uint"))
}
"""Element types of a program's tensors; bfloat16 and what has fewer bits is nothing that `lower` writes."""
TENSOR = re.compile(r"tensor<(?P<shape>(?:[0-9?]+x)*)(?P<kind>[a-z]+[0-9]+)>")
APART = re.compile(r"dense_resource<(?P<name>[^>]+)>")
"""A constant whose values stand apart from the program."""
PRODUCTS = frozenset(
    {
        "coreai.decomposable.broadcasting_batch_matmul",
        "coreai.batch_matmul",
        "coreai.conv2d",
        "coreai.conv_transpose2d",
    }
)


@dataclass(frozen=True)
class Constant:
    """A tensor that a program stores.

    Attributes:
        name: hash of its type, its shape and its bytes.
    """

    name: str
    kind: str
    values: Array


def check(path: Path) -> None:
    """Refuse a folder that is no whole asset: the runtime itself ends the process at some.

    Raises:
        BundleError: says what it lacks.
    """
    lacks = [name for name in (PROGRAM, HASH, METADATA) if not (path / name).is_file()]
    if lacks or path.suffix != SUFFIX:
        found = f"without {', '.join(lacks)}" if lacks else "of another ending"
        raise BundleError(f"expected an asset of Core AI, a folder {SUFFIX}, found {path.name} {found}")
    if (path / HASH).read_bytes() != digest(path / PROGRAM):
        raise BundleError(f"expected {PROGRAM} to be what {HASH} says of it, found another in {path.name}")


def digest(path: Path) -> bytes:
    """What `main.hash` says of a program."""
    return hashlib.sha256(path.read_bytes()).digest()


@dataclass(frozen=True)
class Asset:
    """A saved program, read.

    Attributes:
        constants: every tensor, small ones and those that stand apart, once each.
        products: element type of each convolution and matrix product.
        counts: operations by name; constants are none.
    """

    constants: tuple[Constant, ...]
    products: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]


def read_asset(path: Path) -> Asset:
    """Read an asset.

    Raises:
        BundleError: it is none, or holds what `lower` never writes.
    """
    check(path)
    stat = (path / PROGRAM).stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)  # statistics, comparison and lint read the same file
def _read(path: Path, _changed: int, _size: int) -> Asset:
    program = bytecode.read(path / PROGRAM)
    try:
        apart = dict(bytecode.blobs(program))
        found = list(operations(path))
        constants = tuple(_constants(found, apart))
        products = tuple(_tensor(one.takes[0])[1] for one in found if one.name in PRODUCTS)
    except (ValueError, IndexError, KeyError, RuntimeError) as error:
        raise BundleError(f"expected a program that Core AI reads in {path.name}, found none: {error}") from error
    names = [one.name.rpartition(".")[2] for one in found if one.value is None]
    return Asset(constants, products, tuple((name, names.count(name)) for name in sorted(set(names))))


def _constants(found: list[Operation], apart: dict[str, memoryview]) -> Iterator[Constant]:
    """Constants, once each: a program repeats the small ones, and has no names of the model's tensors."""
    seen = set[str]()
    for one in found:
        if one.value is None:
            continue
        shape, kind = _tensor(one.gives[0])
        stands = APART.match(str(one.value))
        values = _inline(one.value, shape) if stands is None else np.frombuffer(apart[stands["name"]], kind)
        name = hashlib.sha256(f"{kind}{shape}".encode() + values.tobytes()).hexdigest()
        if name not in seen:
            seen.add(name)
            yield Constant(name, kind, values.reshape(shape))


def _inline(value: Any, shape: tuple[int, ...]) -> Array:
    """Values that stand in the program; one that is repeated stands there once."""
    return np.broadcast_to(np.asarray(value), shape)


def _tensor(text: str) -> tuple[tuple[int, ...], str]:
    """Shape and element type of a constant, or of what a product takes; an open size is 0.

    Raises:
        ValueError: it is of a type that `lower` never writes.
    """
    match = TENSOR.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise ValueError(f"a tensor of it is {text}")
    sizes = match["shape"].split("x")[:-1]
    return tuple(0 if size == "?" else int(size) for size in sizes), KINDS[match["kind"]]
