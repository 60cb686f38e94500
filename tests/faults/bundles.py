"""Bundles with one fault each: `verify` refuses them in one line, or proves them by the numbers of the sound one.

The sound one is the committed bundle of schema 1, also written again in today's schema. Half of the faults are made to
fit again: the hashes in the manifest and the manifest's own are of the altered files, so that only what is checked
beside hashes can tell.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from slide_export.bundle import manifest as contract
from slide_export.bundle.manifest import GOLDEN, MANIFEST, REPORT
from slide_export.core.files import sha256_of
from slide_export.core.proof import ParityReport
from slide_export.verification import junit, markdown
from slide_export.verification.apart import Runners
from slide_export.verification.batch import VerifyOptions, prove_one
from slide_export.verification.outcome import VerifyResult
from tests.bundles import restate

from .hostile import VALUES, altered, damaged, unclear
from .outcome import Outcome

NAME, CASES = "bundles", 5000
SCHEMA_1 = Path(__file__).parents[1] / "exporter" / "bundle" / "schema_1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ELSEWHERE = ("../outside", "/etc/passwd", "/dev/zero", ".", "", "a/../model.onnx", "./model.onnx", "x" * 300, "a\0b")
SETTINGS: tuple[Any, ...] = (
    {"threads": 100_000},
    {"config": {"CACHE_DIR": "/tmp/x"}},
    {"config": {"session.load_model_format": "ORT"}},
    {"optimization": "fast"},
    {"config": 3},
    {"literal": True},
    {"profile": "/tmp/x"},
)


@functools.cache
def _runners() -> Runners:
    runners = Runners().__enter__()
    atexit.register(runners.__exit__)
    return runners


def _proved(path: Path) -> VerifyResult:
    return prove_one(path, VerifyOptions(opening=_runners().opened))


@functools.cache
def _sound() -> ParityReport:
    found = _proved(SCHEMA_1).proof
    assert found is not None
    return found


def refit(path: Path, content: Mapping[str, Any] | None = None) -> None:
    """Make every hash of a bundle fit its files again.

    Args:
        content: of the manifest, which may be anything; what it is now without it.
    """
    said = dict(json.loads((path / MANIFEST).read_text()) if content is None else content)
    files = said.get("files")
    if isinstance(files, dict):
        for name in files:
            if name != GOLDEN and isinstance(files[name], dict) and os.path.isfile(path / name):  # noqa: PTH113
                files[name] |= {"bytes": (path / name).stat().st_size, "sha256": sha256_of(path / name)}
    if isinstance(files, dict) and said.get("schema") == contract.SCHEMA:
        _tell_hash(path / GOLDEN, said)
    if isinstance(files, dict) and isinstance(files.get(GOLDEN), dict):
        files[GOLDEN] |= {"bytes": (path / GOLDEN).stat().st_size, "sha256": sha256_of(path / GOLDEN)}
    (path / MANIFEST).write_text(json.dumps(said, indent=2) + "\n")


def _tell_hash(golden: Path, content: Mapping[str, Any]) -> None:
    from safetensors import safe_open

    with safe_open(golden, framework="numpy") as file:
        told = json.loads(file.metadata()["reference"])
    try:
        told["manifest_sha256"] = contract.sha256_of(content)
    except ValueError:  # Infinity: no manifest has one
        return
    golden.write_bytes(save(load_file(golden), {"reference": json.dumps(told)}))


def _bytes_of_one(path: Path, chance: random.Random) -> str:
    name = chance.choice((MANIFEST, MANIFEST, GOLDEN, "model.onnx", REPORT))
    data = (path / name).read_bytes()
    (path / name).write_bytes(damaged(data, chance))
    return f"bytes of {name}"


def _field(path: Path, chance: random.Random) -> str:
    content, how = altered(json.loads((path / MANIFEST).read_text()), chance)
    (path / MANIFEST).write_text(json.dumps(content))
    return how


def _fitting_field(path: Path, chance: random.Random) -> str:
    content, how = altered(json.loads((path / MANIFEST).read_text()), chance)
    refit(path, content)
    return f"{how}, fitting"


def _whole_manifest(path: Path, chance: random.Random) -> str:
    value = chance.choice(VALUES)
    text = "[" * 100_000 if chance.random() < 0.1 else json.dumps(value)
    (path / MANIFEST).write_text(text)
    return f"manifest {text[:40]}"


def _artifact(path: Path, chance: random.Random) -> str:
    data = (path / "model.onnx").read_bytes()
    for _ in range(chance.choice((1, 1, 5))):
        data = damaged(data, chance)
    (path / "model.onnx").write_bytes(data)
    refit(path)
    return "artifact, fitting"


def _listed(path: Path, chance: random.Random) -> str:
    """Leave a file out of `files`, or name one elsewhere."""
    content = json.loads((path / MANIFEST).read_text())
    (path.parent / "outside").write_bytes((path / "model.onnx").read_bytes())
    match chance.randrange(4):
        case 0:
            del content["files"][chance.choice(sorted(content["files"]))]
        case 1:
            content["artifact"]["path"] = chance.choice(ELSEWHERE)
        case 2:
            name = chance.choice(ELSEWHERE)
            content["files"][name] = content["files"]["model.onnx"]
            content["artifact"]["path"] = name
        case _:
            content["artifact"]["settings"] = chance.choice(SETTINGS)
    refit(path, content)
    return f"{content['artifact']} of {sorted(content['files'])}, fitting"


def _golden(path: Path, chance: random.Random) -> str:
    """Alter the golden file's tensors or its words."""
    from safetensors import safe_open

    with safe_open(path / GOLDEN, framework="numpy") as file:
        told = json.loads(file.metadata()["reference"])
    tensors = dict(load_file(path / GOLDEN))
    name = chance.choice(sorted(tensors))
    value = tensors[name]
    new: Mapping[str, Callable[[], Any]] = {
        "gone": lambda: None,
        "one image": lambda: value[:1],
        "no image": lambda: value[:0],
        "flat": lambda: value.reshape(-1),
        "transposed": lambda: np.ascontiguousarray(value.T),
        "float16": lambda: value.astype(np.float16),
        "bool": lambda: value > 0,
        "integers": lambda: value.astype(np.int64),
        "nan": lambda: np.full_like(value, np.nan),
        "one infinity": lambda: np.where(np.arange(value.size).reshape(value.shape) == 0, np.inf, value).astype(
            value.dtype
        ),
        "others": lambda: value + np.asarray(1, value.dtype),
    }
    how = chance.choice((*new, "images", "source", "name"))
    if how in new:
        made = new[how]()
        tensors = {key: kept for key, kept in tensors.items() if key != name} | ({} if made is None else {name: made})
    elif how == "name":
        tensors[chance.choice(("input.x", "reference.x", "rounded.x", "x"))] = tensors.pop(name)
    else:
        told[how] = chance.choice(VALUES)
    (path / GOLDEN).write_bytes(save(tensors, {"reference": json.dumps(told)}))
    refit(path)
    return f"golden {name} {how}, fitting"


def _place(path: Path, chance: random.Random) -> str:
    """Put something in the place of a file that is none."""
    name = chance.choice((MANIFEST, GOLDEN, "model.onnx"))
    kept = path.parent / name
    (path / name).rename(kept)
    how = chance.choice(("gone", "pipe", "directory", "loop", "link out", "null device"))
    match how:
        case "pipe":
            os.mkfifo(path / name)
        case "directory":
            (path / name).mkdir()
        case "loop":
            (path / name).symlink_to(name)
        case "link out":
            (path / name).symlink_to(kept)
        case "null device":
            (path / name).symlink_to("/dev/zero")
    return f"{name} is {how}"


FAULTS = (_bytes_of_one, _field, _fitting_field, _fitting_field, _whole_manifest, _artifact, _listed, _golden, _place)


def run(seed: int, index: int, room: Path) -> Outcome:
    """One bundle with one fault, proved."""
    chance = random.Random(f"{seed}:{index}")
    path = room / "bundle"
    shutil.copytree(SCHEMA_1, path)
    if chance.random() < 0.8:
        restate(path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    how = FAULTS[index % len(FAULTS)](path, chance)
    found = _proved(path)
    for page in (junit.write((found,), NOON), markdown.write((found,))):
        if not page.replace("\n", "").isprintable():
            return Outcome("message", f"{how}: a page with control characters")
    if found.exit_code == 70:
        return Outcome("traceback", f"{how}: {found.message}")
    if not found.passed:
        return Outcome("message", f"{how}: {found.message!r}") if unclear(found.message) else Outcome("refused")
    return Outcome("fine") if _is_sound(path, before, found, how) else Outcome("silent", f"{how}: proved")


def _is_sound(path: Path, before: Mapping[str, bytes], found: VerifyResult, how: str) -> bool:
    """Whether what was proved is within the sound bundle's limits and, where nothing was made to fit, is that bundle.

    Nothing holds the manifest of schema 1.
    """
    if found.proof is None or not _within(found.proof, _sound()):
        return False
    if how.endswith("fitting") or json.loads(before[MANIFEST])["schema"] == 1:
        return True
    same = all(data == (path / name).read_bytes() for name, data in before.items() if name not in (REPORT, MANIFEST))
    return same and json.loads((path / MANIFEST).read_bytes()) == json.loads(before[MANIFEST])


def _within(proof: ParityReport, sound: ParityReport) -> bool:
    """Whether errors are within another proof's limits, whatever limits the bundle has now."""
    pairs = zip(proof.outputs, sound.outputs, strict=True)
    return proof.images == sound.images and all(
        one.max_abs <= limits.limit_max and one.rms <= limits.limit_rms for one, limits in pairs
    )
