"""The directory that ships: written beside its place and renamed whole, and read back for verification."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slide_export.core.errors import BundleError, GateError
from slide_export.core.files import sha256_of
from slide_export.core.proof import Reference

MANIFEST, GOLDEN, REPORT = "manifest.json", "golden.safetensors", "report.md"
SCHEMA = 1
GOLDEN_IMAGES = 8  # the largest batch that is checked
FEED, EXACT, ROUNDED = "input.", "reference.", "rounded."  # prefixes of the golden file's tensors


@dataclass(frozen=True)
class Bundle:
    """A finished directory: artifact, manifest.json, golden.safetensors, report.md.

    Attributes:
        manifest: the parsed manifest.json.
    """

    path: Path
    manifest: Mapping[str, Any]


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuses a bundle that stands in the way, before any work is done.

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
    """Yields an empty directory that becomes `path` when the block ends.

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
    """Returns a new empty directory next to `path`.

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
    """Returns where an artifact that failed is kept."""
    return path.with_name(path.name + ".rejected")


def _replace(source: Path, target: Path) -> None:
    """Renames source to target; an older target is moved aside first and removed last."""
    if not target.exists():
        source.rename(target)
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as aside:
        target.rename(Path(aside) / "old")
        source.rename(target)


def write(directory: Path, manifest: Mapping[str, Any], golden: Reference, report: str) -> None:
    """Writes everything but the artifact, which is in the directory already."""
    tensors = {FEED + name: value for name, value in golden.feeds.items()}
    tensors |= {EXACT + name: value for name, value in golden.exact.items()}
    tensors |= {ROUNDED + name: value for name, value in golden.rounded.items()}
    # One entry: safetensors writes several in an order that changes from run to run.
    metadata = {"reference": json.dumps({"source": golden.source, "images": golden.images})}
    packed = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata)
    (directory / GOLDEN).write_bytes(packed)  # `save_file` writes what its owner alone may read
    content = {"schema": SCHEMA, **manifest, "files": _hashes(directory)}
    (directory / MANIFEST).write_text(json.dumps(content, indent=2) + "\n")
    (directory / REPORT).write_text(report)


def _hashes(directory: Path) -> dict[str, dict[str, Any]]:
    """Returns size and sha256 of every file but the manifest and the report, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in (MANIFEST, REPORT))
    return {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files
    }


def read(path: Path) -> Bundle:
    """Returns a bundle whose files are all there and unaltered.

    Raises:
        BundleError: it is no bundle, or a file is missing or altered.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BundleError(f"expected a bundle with a {MANIFEST} at {path}, found none that can be read") from error
    if manifest.get("schema") != SCHEMA:
        raise BundleError(f"expected a manifest of schema {SCHEMA}, found {manifest.get('schema')!r} in {path}")
    found = _hashes(path)
    for name, expected in manifest["files"].items():
        if name not in found:
            raise BundleError(f"expected {name} in {path}, found none: the bundle is incomplete, export it again")
        if found[name]["sha256"] != expected["sha256"]:
            raise BundleError(f"expected {name} as it was exported, its sha256 differs in {path}: it was altered")
    return Bundle(path, manifest)


def golden(bundle: Bundle) -> Reference:
    """Returns the reference that a bundle carries.

    Raises:
        BundleError: the golden file cannot be read.
    """
    try:
        with safe_open(bundle.path / GOLDEN, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["reference"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BundleError(
            f"expected a safetensors file {GOLDEN} in {bundle.path}, it cannot be read: {error}"
        ) from error
    empty = Reference(metadata["source"], tuple(metadata["images"]), {}, {}, {})

    def part(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    return replace(empty, feeds=part(FEED), exact=part(EXACT), rounded=part(ROUNDED))
