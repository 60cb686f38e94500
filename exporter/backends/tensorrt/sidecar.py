"""The files of an engine: a plan, its graph, and the sidecar that ties the two by their hashes."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from slide_export.core import typed_json
from slide_export.core.errors import BundleError
from slide_export.core.typed_json import Count, Sha256

from .vendor import NAMES, sentence

PLAN, SIDECAR, GRAPH = "model.plan", "model.plan.json", "model.onnx"
REBUILD = "python -c \"from slide_export.backends import tensorrt; tensorrt.rebuild('.')\""


class Part(TypedDict):
    """A file that belongs to an engine."""

    path: Literal["model.plan", "model.onnx"]
    sha256: Sha256
    bytes: Count


class Recipe(TypedDict):
    """The entries of a sidecar that are used again; the others are for people."""

    flavor: Literal["rtx", "tensorrt"]
    version: str
    precision: str
    options: Mapping[str, str]
    compute_capabilities: tuple[str, ...]
    profile: Mapping[str, Mapping[str, tuple[int, ...]]]
    plan: Part
    graph: Part


def companions(path: Path) -> tuple[Path, ...]:
    """The sidecar of the plan at `path`, and the graph that it was built from."""
    return (path.with_name(SIDECAR), path.with_name(GRAPH))


def read(path: Path) -> dict[str, Any]:
    """Read the sidecar of the plan at `path`.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    place = path.with_name(SIDECAR)
    try:
        said: dict[str, Any] = typed_json.parse(place.read_bytes())
        used = {name: said[name] for name in Recipe.__annotations__ if name in said} if isinstance(said, dict) else said
        typed_json.read(Recipe, used)
    except (OSError, ValueError) as error:
        raise BundleError(f"expected the sidecar of {path} beside it, cannot read {place}: {error}") from error
    return said


def write(path: Path, said: Mapping[str, Any]) -> None:
    """Write the sidecar of the plan at `path`."""
    path.with_name(SIDECAR).write_text(json.dumps(said, indent=2, allow_nan=False) + "\n")


def part(name: str, data: bytes) -> dict[str, Any]:
    """Entry of a file in a sidecar, for `checked` to hold the file against."""
    return {"path": name, "sha256": _sha256(data), "bytes": len(data)}


def checked(path: Path, said: Mapping[str, Any], name: str) -> bytes:
    """Bytes of the plan or of the graph, refused if they are not those that the sidecar was written for.

    Args:
        said: the sidecar.
        name: "plan" or "graph".

    Raises:
        BundleError: the file is missing or altered.
    """
    place = path.with_name(said[name]["path"])
    try:
        data = place.read_bytes()
    except OSError as error:
        raise BundleError(f"expected {place}, cannot read it: {error}") from error
    if _sha256(data) != said[name]["sha256"]:
        raise BundleError(f"expected the {name} that {SIDECAR} describes, {place} was altered: export it again")
    return data


def misfit(said: Mapping[str, Any], version: str, device: str, errors: Iterable[str]) -> str:
    """Why a plan does not load and what to do, in one sentence.

    Args:
        said: the sidecar.
        version: of the TensorRT that was to load it.
        device: compute capability of the GPU that was to run it, "8.9".
        errors: what TensorRT said.
    """
    name, built, gpus = NAMES[said["flavor"]], said["version"], said["compute_capabilities"]
    reasons = []
    if built != version:
        reasons.append(f"it was built by {name} {built} and this is {version}")
    if gpus and device not in gpus:
        reasons.append(f"it was built for GPUs of compute capability {', '.join(gpus)} and this one has {device}")
    reasons.extend(sentence(error) for error in [*errors][: 0 if reasons else 1])
    return (
        f"expected a plan that loads here, found one that does not: {' and '.join(reasons) or 'no reason given'}; "
        f"in its directory run {REBUILD}"
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
