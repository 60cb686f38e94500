"""OpenMMLab's preprocessing: the data_preprocessor and the test pipeline in the text of a file's configuration.

Source: mmpretrain 1.2.0, datasets/transforms/processing.py, ResizeEdge and CenterCrop, and
configs/_base_/datasets/imagenet_bs64_swin_224.py and _384.py; mmcls 0.25, datasets/pipelines/transforms.py, Resize and
Normalize; mmsegmentation 1.2.2, configs/_base_/datasets/ade20k.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError

from .format import expect, pair, refuse_field

WHERE = "the file's own configuration (meta.cfg)"
WHOLE_IMAGE = 384  # from this side on mmpretrain's configurations resize both sides and crop nothing
FILTERS = ("bicubic", "bilinear")
SCENES = "the file's pipeline keeps the ratio of whole scenes: pictures resized whole to the input are assumed"
NOTHING_TOLD = "no file tells the preprocessing: that of OpenMMLab's Swin configurations is assumed"
NO_PIPELINE = "no test pipeline tells sizes and filter: those of OpenMMLab's Swin configurations are assumed"
OTHER_RESIZE = "the file's pipeline resizes by OpenCV, without antialiasing; Pillow's filter of that name is taken"


Sentences = tuple[str, ...]
Images = tuple[DataConfig, Sentences, Sentences]
"""The preprocessing, what is assumed of it, and what was decided."""


def read_images(config: Mapping[str, Any], size: tuple[int, int]) -> Images:
    """Read the preprocessing.

    Args:
        config: the file's own, empty where it has none.
        size: rows and columns of the model's input.
    """
    steps = _pipeline(config)
    colours = _colours(config, steps or ())
    if steps is None:
        whole = min(size) >= WHOLE_IMAGE
        data = DataConfig(**{**colours, "keep_aspect": not whole, "scale": 1.0 if whole else 256 / 224})
        return data, (NO_PIPELINE if colours else NOTHING_TOLD,), ()
    resized, guesses, notes = _resize(steps, size)
    return DataConfig(**{**colours, **resized}), guesses, notes


def images_told(config: Mapping[str, Any]) -> dict[str, str]:
    """What of the preprocessing a configuration tells: sizes and filter where it has a test pipeline."""
    steps = _pipeline(config)
    geometry = () if steps is None else ("resize", "crop", "interpolation")
    return dict.fromkeys((*_colours(config, steps or ()), *geometry), WHERE)


def _pipeline(config: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Find the steps of the test pipeline: under its name, in the loader of mmengine, or in the data of mmcv 1.x."""
    places = (("test_pipeline",), ("test_dataloader", "dataset", "pipeline"), ("data", "test", "pipeline"))
    for names in places:
        found: Any = config
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, list):
            return [step for step in found if isinstance(step, Mapping)]
    return None


def _preprocessor(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the model's own data_preprocessor, or the configuration's."""
    model = config.get("model")
    inside = model.get("data_preprocessor") if isinstance(model, Mapping) else None
    told = inside if isinstance(inside, Mapping) else config.get("data_preprocessor")
    return told if isinstance(told, Mapping) else {}


def _colours(config: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Read mean and deviation of colours in 0..255, which must be red, green, blue.

    Pictures are read as blue, green, red; a data_preprocessor that does not say so turns nothing round.

    Source: mmpretrain 1.2.0, models/utils/data_preprocessor.py, ClsDataPreprocessor; mmcv 2.1, LoadImageFromFile.
    """
    preprocessor, older = _preprocessor(config), config.get("img_norm_cfg")
    told = preprocessor or (older if isinstance(older, Mapping) else {})
    told = next((step for step in steps if step.get("type") == "Normalize" and "mean" in step), told)
    if told is preprocessor and "mean" in told and not {"to_rgb", "bgr_to_rgb"} & told.keys():
        refuse_field(WHERE, "data_preprocessor", dict(told), "to_rgb=True")
    expect(WHERE, told, {"to_rgb": (True,), "bgr_to_rgb": (True,), "rgb_to_bgr": (False,)})
    return {name: tuple(float(value) / 255 for value in told[name]) for name in ("mean", "std") if name in told}


def _resize(steps: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> tuple[dict[str, Any], Sentences, Sentences]:
    """Read how a picture is resized: the short edge or both sides, relative to what is cropped from it."""
    step = next((step for step in steps if step.get("type") in ("ResizeEdge", "Resize")), None)
    if step is None:
        raise ShapeError(f"test_pipeline in {WHERE} without ResizeEdge or Resize")
    filter_ = step.get("interpolation", "bilinear")
    expect(WHERE, {"interpolation": filter_}, {"interpolation": FILTERS})
    notes = () if step.get("backend", "cv2") == "pillow" else (OTHER_RESIZE,)
    told = step.get("scale", step.get("size"))
    if told is None or step.get("scale_factor") is not None:
        refuse_field(WHERE, step["type"], dict(step), "a scale or a size")
    edge = step["type"] == "ResizeEdge" or (isinstance(told, list | tuple) and told[-1] == -1)
    if edge and step.get("edge", "short") != "short":
        refuse_field(WHERE, "edge", step["edge"], "'short'")
    if step.get("keep_ratio") and not edge:
        return {"interpolation": filter_, "keep_aspect": False, "scale": 1.0}, (SCENES,), notes
    crop = next((step.get("crop_size") for step in steps if step.get("type") == "CenterCrop"), None)
    before = told[0] if isinstance(told, list | tuple) and told[-1] == -1 else pair(told, "scale")[0]
    after = size if crop is None else pair(crop, "crop_size")
    return {"interpolation": filter_, "keep_aspect": edge, "scale": before / after[0]}, (), notes
