"""Sizes before the crop."""

from slide_export.models import DataConfig


def test_resize_is_256_for_a_crop_of_224() -> None:
    assert DataConfig().resized((224, 224)) == (256, 256)


def test_resize_rounds_down() -> None:
    assert DataConfig(scale=1 / 0.9).resized((224, 224)) == (248, 248)  # CSWin's crop_pct 0.9


def test_scale_1_changes_nothing() -> None:
    assert DataConfig(scale=1.0).resized((65, 96)) == (65, 96)
