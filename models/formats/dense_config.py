"""OpenMMLab's configuration text of a segmenter or detector: its head, its input, its pictures.

{"model": {"decode_head": {"type": "UPerHead", "align_corners": False, ...}}, "crop_size": [512, 512], ...}

Every field of the head is honoured, told by the shapes, of training alone, or refused by name.
Source: open-mmlab/mmsegmentation 1.2.2, models/decode_heads/decode_head.py, uper_head.py and fpn_head.py;
configs/_base_/models/upernet_swin.py and fpn_r50.py; mmdetection 3.3.0, configs/_base_/models/retinanet_r50_fpn.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slide_export.models.data import DataConfig
from slide_export.models.dense import WHOLE_SCENE
from slide_export.models.heads import Head, Size

from .format import expect, pair, refuse_field, untold_input
from .openmmlab_images import WHERE

OF_TRAINING = frozenset(
    """
    type in_channels in_index channels num_classes dropout_ratio loss_decode ignore_index sampler init_cfg
    input_transform feature_strides out_channels
    """.split()  # noqa: SIM905
)
"""Fields of a decode head that its class, the shapes or the training decide."""
DETECTOR = frozenset(
    """
    type num_classes in_channels stacked_convs feat_channels anchor_generator bbox_coder loss_cls loss_bbox init_cfg
    norm_cfg conv_cfg train_cfg test_cfg
    """.split()  # noqa: SIM905
)
NECK = frozenset(
    """
    type in_channels out_channels num_outs start_level end_level add_extra_convs relu_before_extra_convs
    no_norm_on_lateral conv_cfg norm_cfg act_cfg upsample_cfg init_cfg
    """.split()  # noqa: SIM905
)
NORMS = ("BN", "SyncBN", "GN", "MMSyncBN")
STRIDE = 32  # of the coarsest map: sides of an input are multiples of it
FITTED = (
    "the file's pipeline resizes each picture to a size of its own: pictures fitted into one input are assumed, the "
    "rest filled with the mean's colour"
)
UNTOLD_IMAGES = (
    "no file tells the preprocessing: ImageNet's mean and standard deviation, and whole pictures fitted into the "
    "input, are assumed"
)


@dataclass(frozen=True)
class Scenes:
    """What is told of the pictures; see the fields of that name of `Told`."""

    data: DataConfig
    told: Mapping[str, str] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToldHead:
    """What is told of a head.

    Attributes:
        fields: of the configuration.
        input_size: rows and columns.
        input_assumed: a sentence where that is a guess.
        notes: one sentence each.
    """

    fields: Mapping[str, Any]
    input_size: Size
    input_assumed: str = ""
    notes: tuple[str, ...] = ()


def part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A dictionary under `model`, empty where there is none."""
    model = config.get("model")
    found = model.get(name) if isinstance(model, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def read_head(config: Mapping[str, Any], head: Head) -> ToldHead:
    """Read a head and the input that it was made for.

    Raises:
        ShapeError: a field has a value that is not modelled.
    """
    size = input_size(config)
    assumed = "" if size else untold_input(head.input_size, "near what its published models are evaluated at")
    dataset = config.get("dataset_meta")
    zero = dataset.get("reduce_zero_label") if isinstance(dataset, Mapping) else None
    read = _segmenter if head.task == "segment" else _detector
    fields = read(part(config, "decode_head" if head.task == "segment" else "bbox_head"), head, config)
    if "neck." in head.prefixes:
        fields |= _neck(part(config, "neck"))
    if zero is None:
        zero = next((step["reduce_zero_label"] for step in steps(config) if "reduce_zero_label" in step), None)
    if head.task == "segment" and isinstance(zero, bool):
        fields["reduce_zero_label"] = zero
    return ToldHead(fields, size or head.input_size, assumed, _windows(config))


def _segmenter(told: Mapping[str, Any], head: Head, _config: Mapping[str, Any]) -> dict[str, Any]:
    if not told:
        return {}
    _expect("decode_head", told, {"type": (head.upstream,), "in_index": ([0, 1, 2, 3], (0, 1, 2, 3))})
    _expect("decode_head", told, {"act_cfg": ({"type": "ReLU"},), "conv_cfg": (None,)})
    fields = {name: told[name] for name in ("align_corners", "threshold") if told.get(name) is not None}
    if "pool_scales" in told:
        fields["pool_scales"] = tuple(told["pool_scales"])
    norm = told.get("norm_cfg") or {}
    _expect("decode_head.norm_cfg", norm, {"type": NORMS, "eps": (1e-5,)})
    if norm.get("type") == "GN":
        fields["norm_groups"] = norm.get("num_groups")
    for name, value in told.items():
        if name not in OF_TRAINING and name not in fields and name not in ("act_cfg", "conv_cfg", "norm_cfg"):
            refuse_field(WHERE, f"decode_head.{name}", value, "no such field")
    return fields


def _neck(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the first level beyond the last stage convolves; all else of a feature pyramid is told by the shapes."""
    _expect("neck", told, {"type": ("FPN",), "upsample_cfg": ({"mode": "nearest"},), "end_level": (-1,)})
    plain = ("conv_cfg", "norm_cfg", "act_cfg")
    _expect("neck", told, {**dict.fromkeys(plain, (None,)), "relu_before_extra_convs": (False,)})
    for name, value in told.items():
        if name not in NECK:
            refuse_field(WHERE, f"neck.{name}", value, "no such field")
    extra = told.get("add_extra_convs", False)
    _expect("neck", {"add_extra_convs": extra}, {"add_extra_convs": (False, True, "on_input", "on_output")})
    return {"neck_extra_on": "output" if extra == "on_output" else "input"} if extra else {}


def _detector(told: Mapping[str, Any], head: Head, config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a RetinaNet: its anchors, and how its boxes are chosen."""
    fields = _chosen(part(config, "test_cfg"))
    if not told:
        return fields
    _expect("bbox_head", told, {"type": (head.upstream,), "norm_cfg": (None,), "conv_cfg": (None,)})
    coder = told.get("bbox_coder") or {}
    zeros, ones = ([0.0] * 4, (0.0,) * 4), ([1.0] * 4, (1.0,) * 4)
    _expect(
        "bbox_head.bbox_coder", coder, {"type": ("DeltaXYWHBBoxCoder",), "target_means": zeros, "target_stds": ones}
    )
    _expect("bbox_head.bbox_coder", coder, {"clip_border": (True,), "add_ctr_clamp": (False,)})
    _expect("bbox_head.loss_cls", told.get("loss_cls") or {}, {"use_sigmoid": (True,)})
    for name, value in told.items():
        if name not in DETECTOR:
            refuse_field(WHERE, f"bbox_head.{name}", value, "no such field")
    return {**fields, **_anchors(told.get("anchor_generator") or {})}


def _chosen(test: Mapping[str, Any]) -> dict[str, Any]:
    names = {"score_threshold": "score_thr", "candidates": "nms_pre", "detections": "max_per_img"}
    fields = {ours: test[theirs] for ours, theirs in names.items() if theirs in test}
    nms = test.get("nms") or {}
    _expect("test_cfg.nms", nms, {"type": ("nms",)})
    _expect("test_cfg", test, {"min_bbox_size": (0,)})
    return fields | ({"iou_threshold": nms["iou_threshold"]} if "iou_threshold" in nms else {})


def _anchors(told: Mapping[str, Any]) -> dict[str, Any]:
    if not told:
        return {}
    known = ("type", "octave_base_scale", "scales_per_octave", "scales", "ratios", "strides")
    for name, value in told.items():
        if name not in known:
            refuse_field(WHERE, f"anchor_generator.{name}", value, "no such field")
    _expect("bbox_head.anchor_generator", told, {"type": ("AnchorGenerator",)})
    scales = told.get("scales") or _octaves(told["octave_base_scale"], told["scales_per_octave"])
    fields: dict[str, Any] = {"anchor_scales": tuple(scales)}
    fields |= {f"anchor_{name}": tuple(told[name]) for name in ("ratios", "strides") if name in told}
    return fields


def _octaves(base: float, count: int) -> list[float]:
    """Scales that part an octave evenly, from its first on."""
    return [base * 2 ** (step / count) for step in range(count)]


def _expect(place: str, fields: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse fields of a part of the configuration that have other values than are modelled, by their whole names."""
    whole = {f"{place}.{name}": value for name, value in fields.items()}
    expect(WHERE, whole, {f"{place}.{name}": values for name, values in wanted.items()})


def _windows(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Say it where the file's own evaluation moves a window over the picture."""
    test = part(config, "test_cfg")
    if test.get("mode") != "slide":
        return ()
    return (
        f"the file evaluates by windows of {test.get('crop_size')} every {test.get('stride')} pixels: one window is "
        "exported, a program moves it and averages the logits",
    )


def input_size(config: Mapping[str, Any]) -> Size | None:
    """Rows and columns of one fixed input; None where nothing tells them.

    A window of the file's own evaluation, the crop of its training, or what its test pipeline scales to: (2048, 512)
    with the ratio kept is 512 a side at least, (1333, 800) a picture of at most 800 x 1333, padded to multiples of 32.
    """
    window = part(config, "test_cfg").get("crop_size")
    preprocessor = config.get("data_preprocessor")
    padded = preprocessor.get("size") if isinstance(preprocessor, Mapping) else None
    for told in (window, config.get("crop_size"), padded):
        if told is not None:
            return pair(told, "crop_size")
    scale = next((step.get("scale", step.get("img_scale")) for step in steps(config) if _scales(step)), None)
    if scale is None:
        return None
    longer, shorter = sorted(pair(scale, "scale"), reverse=True)
    if longer > 2 * shorter:  # a bound that no picture meets
        longer = shorter
    return _whole(shorter), _whole(longer)


def _scales(step: Mapping[str, Any]) -> bool:
    told = step.get("scale", step.get("img_scale"))
    return isinstance(told, list | tuple) and len(told) == 2


def _whole(side: int) -> int:
    return -(-side // STRIDE) * STRIDE


def steps(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Steps of the test pipeline, those inside a MultiScaleFlipAug too."""
    found = config.get("test_pipeline")
    for step in found if isinstance(found, list) else ():
        if isinstance(step, Mapping):
            yield step
            inner = step.get("transforms")
            yield from (one for one in inner if isinstance(one, Mapping)) if isinstance(inner, list) else ()


def read_scenes(config: Mapping[str, Any]) -> Scenes:
    """Read the preprocessing of pictures.

    Raises:
        ShapeError: they are not red, green, blue.
    """
    preprocessor = config.get("data_preprocessor") or part(config, "data_preprocessor")
    told = next((step for step in steps(config) if step.get("type") == "Normalize" and "mean" in step), preprocessor)
    told = told or config.get("img_norm_cfg") or {}
    if not isinstance(told, Mapping) or "mean" not in told:
        return Scenes(WHOLE_SCENE, unsaid=(UNTOLD_IMAGES,))
    expect(WHERE, told, {"to_rgb": (True,), "bgr_to_rgb": (True,)})
    colours = {name: tuple(float(value) / 255 for value in told[name]) for name in ("mean", "std") if name in told}
    kept = keeps_ratio(config)
    data = DataConfig(**{**vars(WHOLE_SCENE), **colours, "fits": kept})
    sources = {**dict.fromkeys(colours, WHERE), **dict.fromkeys(GEOMETRY, WHERE)}
    return Scenes(data, sources, assumed=(FITTED,) if kept else ())


def keeps_ratio(config: Mapping[str, Any]) -> bool:
    """Whether the test pipeline keeps the ratio of pictures; without one, as every published one does.

    Source: open-mmlab/mmcv 2.1.0, transforms/processing.py, Resize, whose keep_ratio is False where nobody says; mmdet
    2 and mmseg 0, datasets/pipelines/transforms.py, Resize, whose is True.
    """
    resizing = [
        step for step in steps(config) if step.get("type") in ("Resize", "FixScaleResize", "ResizeShortestEdge")
    ]
    older = any("img_scale" in step for step in steps(config))
    return all(bool(step.get("keep_ratio", older or step["type"] != "Resize")) for step in resizing)


GEOMETRY = ("resize", "crop", "interpolation")
