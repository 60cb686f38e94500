"""The directory that ships: written beside its place and renamed whole, and read back for verification."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slide_export.core import typed_json
from slide_export.core.errors import BundleError, GateError
from slide_export.core.files import sha256_of
from slide_export.core.proof import Reference

from . import manifest as contract
from .golden import refuse_misfit
from .intact import refuse_altered
from .manifest import GOLDEN, MANIFEST, REPORT, Manifest
from .records import FileRecord

GOLDEN_IMAGES = 8  # the largest batch that is checked
FEED, EXACT, ROUNDED = "input.", "reference.", "rounded."  # prefixes of the golden file's tensors
METADATA = "reference"  # of the golden file


@dataclass(frozen=True)
class Bundle:
    """A finished directory: artifact, manifest.json, golden.safetensors, report.md.

    Attributes:
        manifest: what manifest.json says.
    """

    path: Path
    manifest: Manifest = field(repr=False)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse a bundle that stands in the way, before any work is done.

    Raises:
        BundleError: the path exists and overwriting was not asked for, or it is no bundle of ours.
    """
    if not path.exists():
        return
    if not overwrite:
        raise BundleError(f"expected a free place for the bundle, {path} exists: add --overwrite or another --out")
    if not (path / MANIFEST).is_file():
        raise BundleError(
            f"expected a bundle to overwrite, {path} has no {MANIFEST}: it is not slide-export's, so it stays"
        )


@contextmanager
def staging(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """An empty directory that becomes `path` when the block ends.

    A `GateError` inside keeps it as `path.rejected`; anything else removes it. Nothing is ever half written.
    """
    partial = _beside(path)
    try:
        yield partial
        refuse_existing(path, overwrite=overwrite)
        _replace(partial, path)
    except GateError:
        _replace(partial, rejected(path))
        raise
    except OSError as error:
        raise BundleError(f"expected to write {path}, the system says: {error}; nothing was kept") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A new empty directory next to `path`.

    Raises:
        BundleError: nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        partial.chmod(0o755)
    except OSError as error:
        raise BundleError(
            f"expected a directory to write to, {path.parent} is none ({error}): choose another --out"
        ) from error
    return partial


def rejected(path: Path) -> Path:
    """The place where an artifact that failed is kept."""
    return path.with_name(path.name + ".rejected")


def _replace(source: Path, target: Path) -> None:
    """Rename source to target; an older target is moved aside first and removed last."""
    if not target.exists():
        source.rename(target)
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as aside:
        target.rename(Path(aside) / "old")
        source.rename(target)


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
    # One entry: safetensors writes several in an order that changes from run to run.
    said = {"source": golden.source, "images": golden.images, "manifest_sha256": manifest_sha256}
    packed = save(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        {METADATA: json.dumps(said, allow_nan=False)},
    )
    path.write_bytes(packed)  # `save_file` writes what its owner alone may read


def _hashes(directory: Path) -> dict[str, FileRecord]:
    """Size and sha256 of every file but the manifest and the report, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in (MANIFEST, REPORT))
    return {path.relative_to(directory).as_posix(): _record(path) for path in files}


def _record(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, sha256_of(path))


def read(path: Path) -> Bundle:
    """A bundle whose files are all there and unaltered.

    Raises:
        BundleError: it is no bundle, or a file is missing or altered.
    """
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

    found = Reference(said["source"], tuple(said["images"]), part(FEED), part(EXACT), part(ROUNDED))
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
