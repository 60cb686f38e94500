"""Sizes before the crop, and what each family's sources do to an image before the network sees it."""

import pytest

from slide_export.models import ALL, DataConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of every source
SLIDE = {224: (False, 256), 384: (False, 438)}  # of the authors' own training code: Resize((size, size))
SIDES = {  # family -> side of the input -> whether the aspect is kept, side before the crop
    **dict.fromkeys(("slide_swin", "slide_cswin", "slide_nat", "slide_pvt", "slide_pvt_v2", "im2col_swin"), SLIDE),
    "swin": {224: (True, 256), 384: (False, 384)},  # TEST.CROP False
    "cswin": {224: (True, 248), 384: (True, 384)},  # crop_pct 0.9 and 1.0
    "nat": {224: (True, 256), 384: (True, 438)},  # timm's crop_pct 0.875
    "pvt": {224: (True, 256)},
    "pvt_v2": {224: (True, 256)},
    "twins": {224: (True, 256)},
    "mvitv2": {224: (True, 256)},
    "dat": SLIDE,
    "cbam": {224: (True, 256)},
    "gam": {224: (True, 256)},
    "boat_swin": {224: (True, 256)},  # Swin's
    "boat_cswin": {224: (True, 248)},  # CSwin's
    "mv_swin_t": {384: (False, 384)},
    "nbnet": {256: (True, 256)},  # cut, not resized
}
UNCHANGED = ("mv_swin_t", "nbnet")  # in 0..1, as decoded
BILINEAR = ("cbam", "gam", *UNCHANGED)  # torchvision's own filter
UNCROPPED = {384: (False, 384)}  # DAT++ from 384 on: TEST.CROP False
CASES = [
    (family.name, name, side)
    for family in ALL
    for name, config in family.variants.items()
    for side in sorted({*SIDES[family.name], *config.image_size})
]


@pytest.mark.parametrize(("name", "variant", "side"), CASES)
def test_preprocessing_is_the_sources(name: str, variant: str, side: int) -> None:
    family = next(family for family in ALL if family.name == name)
    sides = SIDES[name] | (UNCROPPED if variant.startswith(("dat_pp", "dat_p_")) else {})
    keep_aspect, before = sides[side]
    data = family.read_data(None, family.variants[variant].at((side, side)))
    assert (data.keep_aspect, data.resized((side, side))) == (keep_aspect, (before, before))
    interpolation = "bilinear" if name in BILINEAR else "bicubic"
    colours = ((0.0,) * 3, (1.0,) * 3) if name in UNCHANGED else (MEAN, STD)
    assert (data.interpolation, data.mean, data.std) == (interpolation, *colours)


def test_resize_is_256_for_a_crop_of_224() -> None:
    assert DataConfig().resized((224, 224)) == (256, 256)


def test_resize_rounds_down() -> None:
    assert DataConfig(scale=1 / 0.9).resized((224, 224)) == (248, 248)  # CSWin's crop_pct 0.9


def test_scale_1_changes_nothing() -> None:
    assert DataConfig(scale=1.0).resized((65, 96)) == (65, 96)
