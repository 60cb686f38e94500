"""Whether a bundle is what was written: every file that decides is listed, inside the bundle, and of its hash.

What decides a proof are the golden file, the recipe of a quantized artifact, every file that the runtime reads, and the
settings that it is started with. Other files may lie beside them: nothing reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.core.errors import BundleError
from slide_export.core.files import sha256_of
from slide_export.core.precision import PRECISIONS
from slide_export.core.text import foreign
from slide_export.core.typed_json import FieldError

from .manifest import MANIFEST, Manifest

LISTED = 10_000
"""Files of an artifact that is a directory; a link that leads round in one has no end."""


def refuse_altered(path: Path, manifest: Manifest) -> None:
    """Refuse a bundle that is not the one that was written.

    Raises:
        BundleError: a file is missing, altered, outside the bundle or not listed, or a setting is none of ours.
    """
    try:
        _refuse_altered_files(path, manifest)
        for file in (
            *_of_the_artifact(path, manifest),
            *_of_the_precision(path, manifest),
            *_libraries(path, manifest),
        ):
            name = file.relative_to(path).as_posix()
            if name not in manifest.files:
                raise BundleError(
                    f"expected {foreign(name)} among `files` of {MANIFEST}, for it decides what {path} computes, "
                    "found it not listed: export it again"
                )
    except (OSError, ValueError) as error:  # ValueError: a name that the system cannot have
        raise BundleError(
            f"expected a bundle whose files can be read, {path} says: {foreign(error, 300)}; copy it whole and allow "
            "its files to be read"
        ) from error
    refuse_foreign_settings(path, manifest)


def _refuse_altered_files(path: Path, manifest: Manifest) -> None:
    inside = path.resolve()
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(
                f"expected {foreign(name)} in {path}, found none: the bundle is incomplete, export it again"
            )
        if not file.resolve().is_relative_to(inside):
            raise BundleError(
                f"expected {foreign(name)} inside {path}, found a link to {file.resolve()}: copy the bundle with what "
                "its links lead to"
            )
        if sha256_of(file) != expected.sha256:
            raise BundleError(
                f"expected {foreign(name)} as it was exported, its sha256 differs in {path}: it was altered"
            )


def _of_the_artifact(path: Path, manifest: Manifest) -> Iterator[Path]:
    """Every file that a runtime reads of the artifact, and of the graph that may be run in its place."""
    for name in filter(None, (manifest.artifact.path, manifest.artifact.graph)):
        part = path / name
        if part.is_dir():
            for count, file in enumerate(part.rglob("*")):
                if count == LISTED:
                    raise BundleError(f"expected at most {LISTED} files in {foreign(part)}, found more")
                if file.is_symlink() or not file.is_dir():
                    yield file
            continue
        yield part
        if manifest.target in backends.names():
            beside = optional.companions(backends.load(manifest.target), part) if name == manifest.artifact.path else ()
            yield from (_inside(path, file) for file in beside if file.exists() or file.is_symlink())


def _libraries(path: Path, manifest: Manifest) -> Iterator[Path]:
    """The library that the settings name, which is code."""
    if (name := manifest.artifact.settings.get("library")) is not None:
        yield path / str(name)


def _inside(path: Path, file: Path) -> Path:
    """A file that an artifact names, refused where the name leads out of the bundle."""
    if ".." in file.parts or not file.is_relative_to(path):
        raise BundleError(f"expected an artifact whose files are in {path}, found that it reads {foreign(file)}")
    return file


def _of_the_precision(path: Path, manifest: Manifest) -> Iterator[Path]:
    from slide_export.calibration.quantization import FILE as RECIPE  # onnx takes a while to import

    known = PRECISIONS.get(manifest.precision.name)
    if known is not None and known.quantized:
        yield path / RECIPE


def refuse_foreign_settings(path: Path, manifest: Manifest) -> None:
    """Refuse settings of the runtime that the target's backend never writes.

    Raises:
        BundleError: names the setting.
    """
    if manifest.target not in backends.names():
        return
    try:
        backend = backends.load(manifest.target)
        optional.refuse_settings(backend, manifest.artifact.settings, manifest.options.backend)
    except FieldError as error:
        raise BundleError(
            f"expected settings that slide-export writes in {MANIFEST} of {path}: {error}; export it again"
        ) from error
