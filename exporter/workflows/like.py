"""Options of an export taken from a bundle, for a retrained checkpoint: `export --like BUNDLE NEW.pt`.

Given:  digits-openvino-int8 (its manifest, its quantization.yaml) and `batch=1` from the caller
Result: openvino, int8, form, input size, labels, recipe, ... of the bundle; batch 1; images still to be given

What the bundle found by measuring (the form of `--tune`, the modules of a mixed search) is taken as an option: the new
weights have the same layers. No manifest holds where images lie, so these have to be given again where they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from slide_export.bundle import store
from slide_export.bundle.manifest import Manifest
from slide_export.bundle.store import Bundle
from slide_export.calibration.quantization import FILE as QUANTIZATION
from slide_export.core.errors import RequestError, option

from .options import ExportOptions, refuse_unknown


def options_like(like: Path | str | Bundle, target: str | None, given: ExportOptions) -> tuple[str, ExportOptions]:
    """Complete options from a bundle.

    Args:
        target: another one than the bundle's; what the bundle's target alone understands is then left out.
        given: options that win over the bundle's.

    Raises:
        BundleError: the bundle is incomplete or altered.
        RequestError: the bundle needed images, which no manifest holds, and none are given.
    """
    refuse_unknown(given)
    bundle = like if isinstance(like, Bundle) else store.read(Path(like))
    manifest = bundle.manifest
    chosen = target or manifest.target
    taken: dict[str, Any] = {**_of_the_model(manifest), **_of_the_artifact(manifest)}
    precision = given.get("precision", manifest.precision.name)
    if chosen == manifest.target:
        taken |= {"form": manifest.options.form, "options": dict(manifest.options.backend or {})}
    if precision == manifest.precision.name:
        taken |= _of_the_precision(bundle, same_target=chosen == manifest.target)
        _refuse_without_images(bundle, given)
    if "options" in given:  # each option of the target, and each value of the model, wins for itself
        given = {**given, "options": {**taken.get("options", {}), **given["options"]}}
    if "values" in given:
        given = {**given, "values": {**taken["values"], **given["values"]}}
    if given.get("tune"):
        taken.pop("form", None)
    return chosen, cast(ExportOptions, {**taken, **given})


def _of_the_model(manifest: Manifest) -> dict[str, Any]:
    return {
        "variant": manifest.options.variant,
        "weights_key": manifest.options.weights_key,
        "weights": manifest.checkpoint.weights,
        "values": dict(manifest.options.values),
        "input_size": manifest.model.image_size,
        **manifest.options.preprocessing,
    }


def _of_the_artifact(manifest: Manifest) -> dict[str, Any]:
    options = manifest.options
    taken: dict[str, Any] = {
        "precision": manifest.precision.name,
        "batch": options.batch,
        "embed_preprocessing": options.embed_preprocessing,
        "softmax": options.softmax,
        "features": options.features,
        "output": options.output,
        "nms": options.nms,
        "labels": manifest.labels,
    }
    return taken | ({} if options.image_count is None else {"image_count": options.image_count})


def _of_the_precision(bundle: Bundle, *, same_target: bool) -> dict[str, Any]:
    """What an export in another precision has no use for, and a recipe's library in no other target."""
    options, accuracy = bundle.manifest.options, bundle.manifest.accuracy
    taken: dict[str, Any] = {"calibration_size": options.calibration_size, "seed": options.seed}
    if options.keep_fp32:
        taken["keep_fp32"] = options.keep_fp32
    if same_target and QUANTIZATION in bundle.manifest.files:
        taken["quantization_recipe"] = bundle.path / QUANTIZATION
    if accuracy is not None:
        taken |= {"max_drop": accuracy.max_drop, "min_sqnr_db": accuracy.min_sqnr_db}
    return taken


def _refuse_without_images(bundle: Bundle, given: ExportOptions) -> None:
    """Refuse what was calibrated or judged on images whose place nobody says.

    Raises:
        RequestError: such images are not given.
    """
    calibration, accuracy = bundle.manifest.calibration, bundle.manifest.accuracy
    if calibration is not None and given.get("images") is None:
        raise RequestError(
            f"expected {option('images')}: {bundle.path} was calibrated on {calibration.images} images "
            f"({calibration.source}), and no manifest holds where they lie"
        )
    if accuracy is not None and given.get("evaluation") is None:
        raise RequestError(
            f"expected evaluation images: {bundle.path} was judged on {accuracy.images} images ({accuracy.source}), "
            "and no manifest holds where they lie"
        )
