"""A backbone beside a neck or head of a detector or segmenter is told from one beside a classifier's own head."""

import pytest

from slide_export.checkpoint.backbone_names import beside_backbone, is_dense

BODY = "backbone.layers.0.blocks.0.norm1.weight"
DENSE = [
    "neck.lateral_convs.0.conv.weight",
    "fpn.inner.weight",
    "rpn_head.rpn_conv.weight",
    "rpn.head.weight",
    "roi_heads.box_head.weight",
    "bbox_head.cls.weight",
    "mask_head.convs.weight",
    "query_embed.weight",
    "decode_head.conv_seg.weight",
    "seg_decoder.weight",
    "auxiliary_head.conv_seg.weight",
    "sem_seg_head.predictor.weight",
    "pixel_decoder.weight",
    "panoptic_head.weight",
]
CLASSIFIERS = [
    "head.weight",
    "fc.weight",
    "classifier.1.weight",
    "margin.weight",
    "necklace.weight",
    "auxiliary.weight",
]


@pytest.mark.parametrize("name", DENSE)
def test_parts_of_detectors_and_segmenters(name: str) -> None:
    assert is_dense([BODY, name])
    assert beside_backbone([name])
    assert not is_dense([name])  # nothing that it stands beside
    assert not is_dense([BODY, f"backbone.{name}"])  # inside the backbone it is the backbone's


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_head_of_its_own_is_none(name: str) -> None:
    assert not is_dense([BODY, name])
    assert not beside_backbone([name])


def test_a_backbone_alone_is_not_dense() -> None:
    assert not is_dense([BODY])
    assert not is_dense([])
    assert not is_dense(["backbones.0.weight", "decode_head.weight"])
