"""The manifest: everything a bundle says of itself, as frozen dataclasses whose attributes are the fields of its JSON.

`manifest.schema.json` beside this file is its JSON schema, for programs in other languages. Importing this file imports
neither torch nor numpy.

The manifest's own hash is in the golden file, whose hash is in the manifest, so that neither can be exchanged alone. So
that the two do not wait for each other, the hash is that of the manifest without the golden file's entry:

    manifest.json            {"schema": 2, "name": …, "files": {"model.onnx": …, "golden.safetensors": {"sha256": …}}}
    hashed                   {"files":{"model.onnx":…},"name":…,"schema":2}      keys sorted, no spaces, ASCII
    golden.safetensors       metadata "reference": {"source": …, "images": …, "manifest_sha256": …}

Blanks and line ends are free, so that a manifest survives an editor; every other byte is held, each number as it was
written too.

Schema 1 differs from 2 in names (`options.lowering` is `options.form`, `census` is `dtype_stats`), in `precision`,
which was its name alone, and in what it lacks; it is read as 2, and its golden file has no hash of it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from slide_export.calibration.report import CalibrationReport
from slide_export.calibration.sensitivity import MixedSearch
from slide_export.core import typed_json
from slide_export.core.artifact import NativeLibrary
from slide_export.core.errors import BundleError
from slide_export.core.float_build import FloatBuild
from slide_export.core.graph import TensorSpec
from slide_export.core.json_schema import schema_of
from slide_export.core.model import BlockCertificate
from slide_export.core.typed_json import FieldError

from .records import (
    PRECISIONS,
    AccuracyRecord,
    ArtifactRecord,
    Assumption,
    CheckpointRecord,
    DtypeRecord,
    FileRecord,
    ModelRecord,
    OptionsRecord,
    ParityRecord,
    PlainLoadRecord,
    PrecisionRecord,
    PreprocessingRecord,
    QuantizationRecord,
    StageRecord,
)

MANIFEST, GOLDEN, REPORT = "manifest.json", "golden.safetensors", "report.md"
SCHEMA = 2
LARGEST = 2**24
"""Bytes of a manifest's text; that of a model of a thousand classes has 40 thousand."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that made a bundle, and the proof. `versions` are of what was installed, by name.

    Attributes:
        task: what the outputs are: "classify" or "features".
        tuning: the times of every form; empty without `--tune`.
        labels: class names, in the order of the head's outputs.
        assumptions: what nobody told.
        fusion: one certificate a block.
        quantization, calibration, accuracy, mixed: None where the export did nothing of the kind.
        float_build: the proof of the same graph in float32; None where the artifact is that, or where nobody ran it.
        plain_load: what a load without this package's code computes; None where the backend does not know.
        native: the library beside the artifact that has an operator of our own; None where it needs none.
        portable: the folder of the bundle inside this one whose artifact needs no library; None where this one needs
            none.
        files: every file but manifest and report, by its path in the bundle.
    """

    name: str
    target: str
    precision: PrecisionRecord
    task: str
    artifact: ArtifactRecord
    checkpoint: CheckpointRecord
    model: ModelRecord
    options: OptionsRecord
    tuning: tuple[StageRecord, ...] = ()
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...] = ()
    preprocessing: PreprocessingRecord
    assumptions: tuple[Assumption, ...] = ()
    fusion: tuple[BlockCertificate, ...]
    parity: ParityRecord
    quantization: QuantizationRecord | None = None
    calibration: CalibrationReport | None = None
    dtype_stats: DtypeRecord
    accuracy: AccuracyRecord | None = None
    mixed: MixedSearch | None = None
    float_build: FloatBuild | None = None
    plain_load: PlainLoadRecord | None = None
    native: NativeLibrary | None = None
    portable: str | None = None
    versions: Mapping[str, str]
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of `manifest.json`; a number that is not finite is null."""
        return json.dumps(to_plain(self), indent=2, allow_nan=False) + "\n"


def to_plain(manifest: Manifest) -> dict[str, Any]:
    """A manifest as JSON has it, its schema named first."""
    content: dict[str, Any] = typed_json.finite(typed_json.plain(manifest))
    return {"schema": SCHEMA, **content}


def json_schema() -> dict[str, Any]:
    """The schema that `manifest.schema.json` publishes."""
    whole = schema_of(Manifest)
    properties = {"schema": {"const": SCHEMA}, **whole["properties"]}
    return {**whole, "properties": properties, "required": ["schema", *whole["required"]]}


def sha256_of(content: Mapping[str, Any]) -> str:
    """The hash of a manifest's JSON for the golden file; the head of this file says of what."""
    files = {name: entry for name, entry in content["files"].items() if name != GOLDEN}
    canonical = json.dumps({**content, "files": files}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class ReadManifest:
    """A manifest with what its file alone tells.

    Attributes:
        sha256: what the golden file has to say of it; None in schema 1, whose golden files say nothing, and "" where
            a number was rewritten, so that none fits.
    """

    manifest: Manifest
    sha256: str | None


def load(bundle: Path) -> ReadManifest:
    """The manifest of a bundle, whose other files are not looked at.

    Raises:
        BundleError: there is none that can be read, or a field of it is missing, unknown or misformed.
    """
    try:
        text = _bytes_of(bundle / MANIFEST)
    except (OSError, ValueError) as error:
        found = _absence(bundle, error)
        raise BundleError(f"expected a bundle with a {MANIFEST} at {bundle}, found {found}") from error
    return read_json(text, str(bundle))


def _bytes_of(path: Path) -> bytes:
    """The content of a file of some size, and of no pipe or device, which may have no end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 2**20} MiB")
    return data


def _absence(bundle: Path, error: Exception) -> str:
    """What stands in the place of a manifest."""
    if isinstance(error, PermissionError):
        return "one that may not be read: ask for the right to read it"
    if isinstance(error, OSError) and glob.has_magic(str(bundle)) and not os.path.lexists(bundle):
        return "nothing that matches"
    return "none that can be read"


def from_json(text: str | bytes, source: str) -> Manifest:
    """A manifest from its text, of this schema or an older one.

    Args:
        source: the bundle, for the message.

    Raises:
        BundleError: it is no JSON, or a field is missing, unknown or misformed: the field's path, what was expected
            and what was found.
    """
    return read_json(text, source).manifest


def read_json(text: str | bytes, source: str) -> ReadManifest:
    """A manifest and its hash from its text; see `from_json`."""
    try:
        content = typed_json.parse(text)
    except ValueError as error:
        why = "" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else f": {error}"
        raise BundleError(
            f"expected a bundle with a {MANIFEST} at {source}, found none that can be read{why}"
        ) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        found = typed_json.said(schema if isinstance(content, dict) else content)
        raise BundleError(
            f"expected a manifest of schema {SCHEMA} or older, found {found} in {source}: export it again"
        )
    older = schema < SCHEMA
    try:
        fields = {name: value for name, value in content.items() if name != "schema"}
        manifest = _whole(typed_json.read(Manifest, _upgraded(fields) if older else fields))
    except FieldError as error:
        where = _name_in_schema_1(error.where) if older else error.where
        raise BundleError(
            f"{FieldError(where, error.expected, error.found)} in {MANIFEST} of {source}: export it again"
        ) from error
    return ReadManifest(manifest, None if older else sha256_of(content) if _as_written(text) else "")


def _as_written(text: str | bytes) -> bool:
    """Whether each number stands as Python writes it: two of 17 digits may be the same float and hash alike."""
    numbers: list[str] = []
    json.loads(text, parse_float=numbers.append)
    return all(repr(float(number)) == number for number in numbers)


RENAMED = {"options.lowering": "options.form", "census": "dtype_stats"}
"""From schema 1 to 2."""


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 as schema 2; what is misformed stays so, for the reader to name."""
    content = typed_json.finite(content)  # schema 1 wrote Infinity and NaN
    options, precision = content.get("options"), content.get("precision")
    if isinstance(options, dict) and "lowering" in options and "form" not in options:
        content["options"] = {("form" if name == "lowering" else name): value for name, value in options.items()}
    if "census" in content and "dtype_stats" not in content:
        content["dtype_stats"] = content.pop("census")
    if not isinstance(precision, str) or precision not in PRECISIONS:
        found = "nothing" if "precision" not in content else typed_json.said(precision)
        raise FieldError("precision", " or ".join(PRECISIONS), found)
    features = isinstance(options, dict) and options.get("features") is True
    return {
        **content,
        "precision": typed_json.plain(PRECISIONS[precision]),
        "task": "features" if features else "classify",
    }


def _name_in_schema_1(where: str) -> str:
    for old, new in RENAMED.items():
        if where == new or where.startswith(f"{new}."):
            return old + where.removeprefix(new)
    return where


def _whole(manifest: Manifest) -> Manifest:
    """A manifest whose parts fit each other, with the infinite decibels of outputs without any error.

    Raises:
        FieldError: it lists no golden file, its artifact is not among its files, or a name leads out of the bundle.
    """
    if GOLDEN not in manifest.files:
        raise FieldError(f"files.{GOLDEN}", "an object", "nothing")
    for name in manifest.files:
        if not _stays_inside(name):
            raise FieldError("files", "names of files in the bundle", typed_json.said(name))
    for name, path in (("path", manifest.artifact.path), ("graph", manifest.artifact.graph)):
        if path is not None and not any(file == path or file.startswith(f"{path}/") for file in manifest.files):
            raise FieldError(f"artifact.{name}", "one of `files` or a directory of them", typed_json.said(path))
    if manifest.portable is not None and f"{manifest.portable}/{MANIFEST}" not in manifest.files:
        raise FieldError("portable", f"a folder with a {MANIFEST} among `files`", typed_json.said(manifest.portable))
    parity, accuracy = manifest.parity, manifest.accuracy
    outputs = tuple(replace(one, sqnr_db=_decibels(one.sqnr_db, one.rms == 0)) for one in parity.outputs)
    if accuracy is not None:
        accuracy = replace(accuracy, sqnr_db=_decibels(accuracy.sqnr_db, accuracy.passed))
    return replace(manifest, parity=replace(parity, outputs=outputs), accuracy=accuracy)


def _stays_inside(name: str) -> bool:
    """Whether a name is that of a file below the bundle on every system: a/b, but not /a, ../a, a//b or C:a."""
    path = PurePosixPath(name)
    plain = str(path) == name and not any(letter in name for letter in "\\:\0")
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _decibels(sqnr_db: float, exact: bool) -> float:
    """Decibels that stood as null: infinite where nothing is lost, else no number."""
    return float("inf") if exact and sqnr_db != sqnr_db else sqnr_db
