"""What the heads of segmenters have in common: fields of the configuration that no shape tells."""

from dataclasses import dataclass

from slide_export.models.model_value import YES_OR_NO, ModelValue, ValueKind


@dataclass(frozen=True)
class SegmenterFields:
    """Fields of every head that classifies pixels.

    Attributes:
        align_corners: of every bilinear resizing, that of the logits to the input's size too.
        norm_groups: groups of the norms where they are GroupNorms; 0: they are BatchNorms.
        threshold: probability from which a pixel is of the only class, where there is one.
        palette: red, green and blue of each class, one after the other; none where no file tells colours.
        reduce_zero_label: whether class 0 of the model is number 1 in label files, whose 0 is no class.
    """

    align_corners: bool = False
    norm_groups: int = 0
    threshold: float = 0.3
    reduce_zero_label: bool = False
    palette: tuple[int, ...] = ()


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError(text)
    return value


SHARE = ValueKind("a probability between 0 and 1, 0.3", _share)
COUNT = ValueKind("a whole number, 32", int)

SEGMENTER_VALUES = (
    ModelValue(
        "align_corners",
        YES_OR_NO,
        "whether resizing aligns the corner pixels' centres",
        "no, as every published configuration has it",
    ),
    ModelValue(
        "norm_groups",
        COUNT,
        "groups of the head's GroupNorms; 0 where they are BatchNorms",
        "BatchNorms",
        needed=True,
        assumed=False,
    ),
    ModelValue(
        "threshold",
        SHARE,
        "probability from which a pixel is of the only class, of a model with one",
        "0.3, as mmsegmentation has it",
        assumed=False,
    ),
    ModelValue(
        "reduce_zero_label",
        YES_OR_NO,
        "whether label files count the model's classes from 1, their 0 being none",
        "no",
        assumed=False,
    ),
)
