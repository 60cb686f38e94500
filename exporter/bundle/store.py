"""The directory that ships: what is in it, written by `staging`, and read back for verification."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slide_export.core import typed_json
from slide_export.core.errors import BundleError
from slide_export.core.files import refuse_not_utf8, sha256_of
from slide_export.core.proof import Reference

from . import manifest as contract
from .golden import refuse_misfit
from .intact import refuse_altered
from .manifest import GOLDEN, MANIFEST, REPORT, Manifest
from .records import FileRecord

GOLDEN_IMAGES = 8  # the largest batch that is checked
FEED, EXACT, ROUNDED, MARGIN = "input.", "reference.", "rounded.", "margin."  # prefixes of the golden file's tensors
METADATA = "reference"  # of the golden file
ATTEMPTS = 8  # at a bundle that exports replace meanwhile
PAUSE_S = 0.005  # before the second attempt, twice as long before each later one


@dataclass(frozen=True)
class Bundle:
    """A finished directory: artifact, manifest.json, golden.safetensors, report.md.

    Attributes:
        manifest: what manifest.json says.
    """

    path: Path
    manifest: Manifest = field(repr=False)


def write(directory: Path, manifest: Manifest, golden: Reference, report: str) -> None:
    """Write everything but the artifact, which is in the directory already."""
    (directory / GOLDEN).unlink(missing_ok=True)
    manifest = replace(manifest, files=_hashes(directory))
    _write_golden(directory / GOLDEN, golden, contract.sha256_of(contract.to_plain(manifest)))
    files = {**manifest.files, GOLDEN: _record(directory / GOLDEN)}
    manifest = replace(manifest, files=dict(sorted(files.items())))
    (directory / MANIFEST).write_text(manifest.to_json())
    (directory / REPORT).write_text(report)


def _write_golden(path: Path, golden: Reference, manifest_sha256: str) -> None:
    tensors = {FEED + name: value for name, value in golden.feeds.items()}
    tensors |= {EXACT + name: value for name, value in golden.exact.items()}
    tensors |= {ROUNDED + name: value for name, value in golden.rounded.items()}
    tensors |= {MARGIN + name: value for name, value in golden.margins.items()}
    # One entry: safetensors writes several in an order that changes from run to run.
    said = {"source": golden.source, "images": golden.images, "manifest_sha256": manifest_sha256}
    packed = save(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        {METADATA: json.dumps(said, allow_nan=False)},
    )
    path.write_bytes(packed)  # `save_file` writes what its owner alone may read


def _hashes(directory: Path) -> dict[str, FileRecord]:
    """Size and sha256 of every file but the manifest and the report, by relative path."""
    own = (directory / MANIFEST, directory / REPORT)  # a bundle inside has its own
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path not in own)
    return {path.relative_to(directory).as_posix(): _record(path) for path in files}


def _record(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, sha256_of(path))


def read(path: Path) -> Bundle:
    """A bundle whose files are all there and unaltered; read again where another one was put there meanwhile.

    Raises:
        BundleError: it is no bundle, or a file is missing or altered.
        RequestError: its name is no UTF-8.
    """
    refuse_not_utf8(path, "a bundle")
    for attempt in range(ATTEMPTS):
        before = _identity(path)
        try:
            return _read(path)
        except (BundleError, FileNotFoundError):
            if attempt == ATTEMPTS - 1 or _identity(path) == before:
                raise
        time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Which directory stands at a path, so that one that an export exchanges for it is told from it.

    Where two were put there meanwhile, the second may have the number that the first had: its time is another.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _read(path: Path) -> Bundle:
    found = contract.load(path)
    refuse_altered(path, found.manifest)
    told = _metadata(path).get("manifest_sha256")  # which holds all but the golden file's own entry
    size = (path / GOLDEN).stat().st_size
    if found.sha256 != told or found.manifest.files[GOLDEN].bytes != size:  # schema 1 has no hash, nor its golden files
        raise BundleError(
            f"expected {MANIFEST} as it was exported, its sha256 is not what {GOLDEN} says in {path}: it was altered"
        )
    return Bundle(path, found.manifest)


def golden(bundle: Bundle) -> Reference:
    """The reference that a bundle carries.

    Raises:
        BundleError: the golden file cannot be read, or does not fit the manifest.
    """
    said = _metadata(bundle.path)
    with _opened_golden(bundle.path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict

    def part(prefix: str) -> dict[str, Any]:
        """Tensors whose name begins with `prefix`, without it."""
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    found = Reference(said["source"], tuple(said["images"]), part(FEED), part(EXACT), part(ROUNDED), part(MARGIN))
    refuse_misfit(found, bundle.manifest, str(bundle.path))
    return found


@contextmanager
def _opened_golden(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path / GOLDEN, framework="numpy") as file:
            yield file
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"expected a safetensors file {GOLDEN} in {path}, it cannot be read: {error}") from error


def _metadata(path: Path) -> dict[str, Any]:
    """What the golden file says beside its tensors: source and names of the images, and the manifest's sha256."""
    with _opened_golden(path) as file:
        said = typed_json.parse((file.metadata() or {})[METADATA])
        names = said["images"]
        if not (isinstance(said["source"], str) and isinstance(names, list) and all(isinstance(n, str) for n in names)):
            raise ValueError(f"its {METADATA} names no source and images")
        return dict(said)
