"""What shapes tell, and what they do not."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import ShapeError, pvt, pyramid, slide_pvt
from slide_export.models.pvt import PvtConfig, PyramidVisionTransformer


def state(name: str) -> dict[str, torch.Tensor]:
    config = {**pvt.VARIANTS, **slide_pvt.VARIANTS}[name]
    with torch.device("meta"):
        return PyramidVisionTransformer(config).state_dict()


def test_shapes_tell_every_size() -> None:
    small = state("pvt_small")
    assert pyramid.dims(small) == (64, 128, 320, 512)
    assert pyramid.depths(small) == (3, 4, 6, 3)
    assert pyramid.ratios(small, pyramid.dims(small)) == (8, 8, 4, 4)
    assert pyramid.reductions(small, (9, 9, 9, 9)) == (8, 4, 2, 1)
    assert pyramid.slide_stages(small) == ((), 3)


def test_a_slide_stage_has_the_default_reduction() -> None:
    assert pyramid.reductions(state("slide_pvt_tiny"), (9, 7, 5, 3)) == (9, 7, 2, 1)
    assert pyramid.slide_stages(state("slide_pvt_tiny")) == ((0, 1), 3)


def test_unpublished_widths_leave_the_heads_open() -> None:
    with pytest.raises(ShapeError, match=r"widths \(16, 32\), whose heads no shape tells"):
        pyramid.heads({}, (16, 32))


def test_a_slide_table_of_other_heads_is_refused() -> None:
    tables = {"block2.0.attn.relative_position_bias_table": torch.zeros(1, 4, 1, 9, 1, 1)}
    with pytest.raises(ShapeError, match="4 heads in stage 2"):
        pyramid.heads(tables, (64, 128, 320, 512))


def test_a_map_smaller_than_its_reduction_is_refused() -> None:
    config = PvtConfig((8, 16), (1, 1), (1, 2), reductions=(8, 2), image_size=(28, 36))
    with pytest.raises(ShapeError, match="7x9 in stage 1, which needs 8"):
        pyramid.refuse_empty(config)
    pyramid.refuse_empty(replace(config, slide_stages=(0,)))  # what slides reduces nothing
    pyramid.refuse_empty(replace(config, image_size=(32, 32)))
