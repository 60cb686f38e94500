"""Bundles -> `BenchmarkResult`: the manifest describes the artifact, its golden images become the feeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.errors import RequestError
from slide_export.core.files import sha256_of
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult
from slide_export.core.progress import Progress, no_progress

from .devices import Device
from .devices.local import LOCAL_DEVICE
from .plan import BenchPlan
from .rounds import Candidate, measure


def bench(
    paths: Sequence[Path],
    plan: BenchPlan | None = None,
    device: Device = LOCAL_DEVICE,
    step: Progress = no_progress,
) -> BenchmarkResult:
    """Latency of bundles; see `rounds.measure`.

    Raises:
        BundleError: a bundle is incomplete or altered.
        RequestError: a bundle is made for another batch size.
        DeviceError: the device lacks what a bundle needs.
    """
    plan = plan or BenchPlan()
    with step("read the bundles"):
        bundles = [bundle.read(path) for path in paths]
        candidates = [_candidate(one, plan.batches) for one in bundles]
    device.prepare([one.manifest for one in bundles])
    return measure(candidates, plan, device, step)


def _candidate(one: Bundle, batches: Sequence[int]) -> Candidate:
    path, manifest = one.path, one.manifest
    fixed = manifest["options"]["batch"]
    if fixed and set(batches) != {fixed}:
        asked = ", ".join(map(str, batches))
        raise RequestError(f"expected batch {fixed}, which {path} is made for, found {asked}: add --batch {fixed}")
    artifact = manifest["artifact"]
    subject = _subject(path, manifest)
    return Candidate(subject, path / artifact["path"], artifact["settings"], bundle.golden(one).feeds)


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
