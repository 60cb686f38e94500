"""preprocessor_config.json of transformers: what its image processors do, and their defaults where it says nothing.

Source: transformers 5.24.0, models/vit/image_processing_vit.py (Swin and NAT use it too),
models/pvt/image_processing_pvt.py; image_transforms.py. 4.57's Pvt processor is bilinear, 5.24's bicubic.
"""

from collections.abc import Mapping
from typing import Any

from slide_export.models.data import IMAGENET_MEAN, IMAGENET_STD, DataConfig

from .format import expect, pair, refuse_field

WHERE = "preprocessor_config.json"
FILTERS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}  # of PIL.Image.Resampling
HALF = (0.5, 0.5, 0.5)
RESCALE = 1 / 255
KNOWN = frozenset(
    """
    do_resize size resample do_center_crop crop_size crop_pct do_rescale rescale_factor do_normalize image_mean
    image_std do_convert_rgb do_pad do_flip_channel_order do_reduce_labels default_to_square data_format
    input_data_format return_tensors device disable_grouping image_processor_type feature_extractor_type processor_class
    pad_size size_divisor offset
    """.split()  # noqa: SIM905
)
"""Fields that are read, or that change no picture that is served here."""


def read_images(
    told: Mapping[str, Any], config: Mapping[str, Any], kind: str, image_size: tuple[int, int]
) -> tuple[DataConfig, tuple[str, ...]]:
    """Read the preprocessing, and what is assumed of it.

    Args:
        told: preprocessor_config.json, empty where there is none.
        config: config.json, whose writer decides a default.
        kind: the image processor of the model: "vit" or "pvt".
        image_size: rows and columns of the model's input.
    """
    default = _default(kind, str(config.get("transformers_version", "")))
    if not told:
        names = "bilinear, mean and standard deviation 0.5" if kind == "vit" else f"{default.interpolation}, ImageNet's"
        return default, (f"no {WHERE} beside the weights: transformers' default is assumed ({names})",)
    expect(WHERE, told, {"do_rescale": (True, None), "do_resize": (True, None)})
    expect(WHERE, told, dict.fromkeys(("do_pad", "do_flip_channel_order", "do_reduce_labels"), (False, None)))
    unknown = sorted(name for name in told if name not in KNOWN and not name.startswith("_"))
    unread = (f"{WHERE} also has {', '.join(unknown[:8])}: taken for what changes no picture",) if unknown else ()
    if abs(float(told.get("rescale_factor") or RESCALE) - RESCALE) > 1e-9:
        refuse_field(WHERE, "rescale_factor", told["rescale_factor"], "1/255")
    filter_ = told.get("resample", default.interpolation)
    if filter_ not in FILTERS:
        refuse_field(WHERE, "resample", filter_, "2 (bilinear) or 3 (bicubic)")
    keep_aspect, scale, guesses = _resize(told, image_size)
    plain = told.get("do_normalize") is False
    mean = (0.0, 0.0, 0.0) if plain else _channels(told, "image_mean", default.mean)
    std = (1.0, 1.0, 1.0) if plain else _channels(told, "image_std", default.std)
    return DataConfig(mean, std, FILTERS[filter_], keep_aspect, scale), (*guesses, *unread)


def images_told(told: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing preprocessor_config.json tells."""
    names = {"mean": "image_mean", "std": "image_std", "interpolation": "resample", "resize": "size", "crop": "size"}
    plain = told.get("do_normalize") is False
    known = [ours for ours, theirs in names.items() if theirs in told or (plain and ours in ("mean", "std"))]
    return dict.fromkeys(known, WHERE)


def _default(kind: str, version: str) -> DataConfig:
    if kind == "vit":
        return DataConfig(HALF, HALF, "bilinear", keep_aspect=False, scale=1.0)
    filter_ = "bilinear" if version.startswith("4.") else "bicubic"
    return DataConfig(IMAGENET_MEAN, IMAGENET_STD, filter_, keep_aspect=False, scale=1.0)


def _resize(told: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[bool, float, tuple[str, ...]]:
    """Read whether the aspect is kept, and the size before the crop over that after it."""
    size, crop = told.get("size", image_size), told.get("crop_size")
    keep_aspect = isinstance(size, Mapping) and "shortest_edge" in size
    resized = _sides(size, "size")
    if keep_aspect and "crop_pct" in told and told["crop_pct"]:  # ConvNextImageProcessor, below 384
        return True, 1 / float(told["crop_pct"]), ()
    if not told.get("do_center_crop"):
        if keep_aspect:
            guess = f"{WHERE} crops nothing after the short side: the centre crop of the input is assumed"
            return True, resized[0] / image_size[0], (guess,)
        same = resized == tuple(image_size)
        rows, cols = resized
        guess = f"{WHERE} resizes to {rows}x{cols}, which is not the model's input: resized to the input it is assumed"
        return False, 1.0, () if same else (guess,)
    cropped = _sides(crop, "crop_size") if crop is not None else image_size
    return keep_aspect, resized[0] / cropped[0], ()


def _sides(value: Any, name: str) -> tuple[int, int]:
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return pair(value["shortest_edge"], name)
        return pair([value.get("height"), value.get("width")], name)
    return pair(value, name)


def _channels(told: Mapping[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, float, float]:
    values = told.get(name, default)
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError):
        refuse_field(WHERE, name, values, "three numbers")
    return red, green, blue
