"""A small DAT and a small DAT++, for the tests of the model and of its exports."""

from dataclasses import replace

from slide_export.models.dat_config import DatConfig

SMALL = DatConfig(
    dims=(16, 32, 64, 128),
    blocks=("LS", "L", "LD", "D"),
    heads=(1, 2, 4, 4),
    plus_plus=False,
    groups=(1, 1, 2, 2),
    strides=(1, 1, 1, 1),
    offset_factors=(2.0,) * 4,
    windows=(4, 4, 2, 7),
    image_size=(64, 128),
    num_classes=10,
)
PLUS_PLUS = replace(
    SMALL,
    blocks=("ND", "N", "D", "D"),
    plus_plus=True,
    groups=(1, 2, 2, 2),
    strides=(8, 4, 2, 1),
    offset_factors=(-1.0,) * 4,
    windows=(7,) * 4,
    depthwise_mlps=(True,) * 4,
    perception_units=(True,) * 4,
    conv_patches=True,
    image_size=(64, 96),
)
