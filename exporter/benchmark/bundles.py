"""Bundles -> `Result`: what a manifest says becomes the subject, its golden images become the feeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.errors import RequestError
from slide_export.core.files import sha256_of
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult, Protocol
from slide_export.core.progress import Progress, no_progress

from . import TIMEOUT_S
from . import rounds as latency
from .devices import Device
from .devices.local import LOCAL_DEVICE


def bench(
    bundles: Sequence[Path],
    protocol: Protocol,
    batches: Sequence[int] = (1,),
    *,
    profile: bool = False,
    stand_ins: bool = False,
    place: Device = LOCAL_DEVICE,
    timeout_s: float = TIMEOUT_S,
    step: Progress = no_progress,
) -> BenchmarkResult:
    """Returns the latency of bundles; see `latency.measure`.

    Raises:
        BundleError: a bundle is incomplete or altered.
        RequestError: a bundle is made for another batch size.
        DeviceError: the place lacks what a bundle needs.
    """
    with step("read the bundles"):
        made = [bundle.read(path) for path in bundles]
        candidates = [_candidate(one, batches) for one in made]
    place.prepare([one.manifest for one in made])
    return latency.measure(
        candidates,
        protocol,
        batches,
        profile=profile,
        stand_ins=stand_ins,
        place=place,
        timeout_s=timeout_s,
        step=step,
    )


def _candidate(made: Bundle, batches: Sequence[int]) -> latency.Candidate:
    path, manifest = made.path, made.manifest
    fixed = manifest["options"]["batch"]
    if fixed and set(batches) != {fixed}:
        asked = ", ".join(map(str, batches))
        raise RequestError(f"expected batch {fixed}, which {path} is made for, found {asked}: add --batch {fixed}")
    artifact = manifest["artifact"]
    subject = _subject(path, manifest)
    return latency.Candidate(subject, path / artifact["path"], artifact["settings"], bundle.golden(made).feeds)


def _subject(path: Path, manifest: Mapping[str, Any]) -> ArtifactInfo:
    model, rows_cols = manifest["model"], manifest["model"]["image_size"]
    return ArtifactInfo(
        name=manifest["name"],
        target=manifest["target"],
        precision=manifest["precision"],
        family=model["family"],
        variant=model["variant"],
        image_size=(rows_cols[0], rows_cols[1]),
        lowering=manifest["options"]["lowering"] if manifest["fusion"] else "",  # none without slide attention
        parameters=model["parameters"],
        macs=model.get("macs", 0),  # older bundles do not tell
        artifact_bytes=manifest["artifact"]["bytes"],
        manifest_sha256=sha256_of(path / bundle.MANIFEST),
        parity=manifest["parity"],
        accuracy=manifest.get("accuracy"),
        classes=model["config"]["num_classes"],
    )
