"""Bundles -> `BenchmarkResult`: the manifest describes the artifact, its golden images become the feeds."""

from collections.abc import Sequence
from pathlib import Path

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.bundle import store as bundle
from slide_export.bundle.manifest import MANIFEST, Manifest
from slide_export.bundle.store import Bundle
from slide_export.core import typed_json
from slide_export.core.errors import RequestError, option
from slide_export.core.files import sha256_of
from slide_export.core.measurement import ArtifactInfo, BenchmarkResult
from slide_export.core.progress import Progress, no_progress
from slide_export.inference.forms import SAMPLINGS

from .devices import Device
from .devices.local import LOCAL_DEVICE
from .plan import BenchPlan
from .rounds import Candidate, measure


def bench(
    bundles: Sequence[Path | Bundle],
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
        made = [one if isinstance(one, Bundle) else bundle.read(one) for one in bundles]
        candidates = [_candidate(one, plan.batches) for one in made]
    device.prepare([one.manifest for one in made])
    return measure(candidates, plan, device, step)


def _candidate(one: Bundle, batches: Sequence[int]) -> Candidate:
    path, manifest = one.path, one.manifest
    fixed = manifest.options.batch
    if fixed and set(batches) != {fixed}:
        asked = ", ".join(map(str, batches))
        raise RequestError(
            f"expected batch {fixed}, which {path} is made for, found {asked}: add {option('batches', 'batch')} {fixed}"
        )
    artifact = manifest.artifact
    subject = _subject(path, manifest)
    settings = optional.harmless_settings(backends.load(manifest.target), artifact.settings)
    return Candidate(subject, path / artifact.path, settings, bundle.golden(one).feeds)


def _has_forms(manifest: Manifest) -> bool:
    """Whether the model's attention has several forms: it is slide attention, or was sampled in one of two ways."""
    return bool(manifest.fusion) or set(manifest.options.form.split(",")) <= SAMPLINGS.keys()


def _subject(path: Path, manifest: Manifest) -> ArtifactInfo:
    model = manifest.model
    return ArtifactInfo(
        name=manifest.name,
        target=manifest.target,
        precision=manifest.precision.name,
        family=model.family,
        variant=model.variant,
        image_size=model.image_size,
        lowering=manifest.options.form if _has_forms(manifest) else "",
        parameters=model.parameters,
        macs=model.macs,
        artifact_bytes=manifest.artifact.bytes,
        manifest_sha256=sha256_of(path / MANIFEST),
        parity=typed_json.finite(typed_json.plain(manifest.parity)),
        accuracy=typed_json.finite(typed_json.plain(manifest.accuracy)),
        classes=model.config.get("num_classes", 0),
        computed=dict(manifest.dtype_stats.computed) if manifest.dtype_stats.counted else None,
    )
