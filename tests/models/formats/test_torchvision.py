"""torchvision's Swin: its names, and the preset that its size alone tells."""

import pytest

from slide_export.models.formats import rename
from slide_export.models.formats.format import Beside
from slide_export.models.formats.torchvision import RESIZED, SWIN, is_swin, read_swin

from .swin_shapes import swin_shapes

TABLE = "features.1.0.attn.relative_position_bias_table"


def test_its_numbered_features_tell_it() -> None:
    assert is_swin(["features.0.0.weight", TABLE])
    assert not is_swin(["features.0.0.weight", "features.1.0.attn.qkv.weight"])
    assert not is_swin([TABLE])


def test_stages_and_mergings_take_turns() -> None:
    keys = ["features.5.1.mlp.0.weight", "features.5.1.mlp.3.bias", "features.6.norm.bias", "features.1.0.norm2.weight"]
    assert rename(SWIN, keys).origins.keys() == {
        "layers.2.blocks.1.mlp.fc1.weight",
        "layers.2.blocks.1.mlp.fc2.bias",
        "layers.2.downsample.norm.bias",
        "layers.0.blocks.0.norm2.weight",
    }


@pytest.mark.parametrize(
    ("depth", "side", "assumed"),
    [(6, 232, "preset of this size"), (5, 256, "preset of no size of torchvision's, so 256 of 224,")],
)
def test_the_preset_is_that_of_the_width_and_the_third_stage(depth: int, side: int, assumed: str) -> None:
    told = read_swin(swin_shapes(embed_dim=96, depths=(1, 1, depth, 1), heads=(3, 6, 12, 24)), Beside())
    assert told.data.resized((224, 224)) == (side, side)
    assert assumed in told.images_assumed[0]


def test_published_presets() -> None:
    """Swin_T_Weights, Swin_S_Weights and Swin_B_Weights of torchvision 0.28.0: resize_size."""
    assert RESIZED == {(96, 6): 232, (96, 18): 246, (128, 18): 238}


@pytest.mark.parametrize(("width", "side"), [(128, 238), (96, 246), (64, 256)])
def test_small_and_base_differ_in_width(width: int, side: int) -> None:
    told = read_swin(swin_shapes(embed_dim=width, depths=(1, 1, 18, 1), heads=(4, 8, 16, 32)), Beside())
    assert told.data.resized((224, 224)) == (side, side)


def test_a_model_of_two_stages_has_no_preset() -> None:
    told = read_swin(swin_shapes(embed_dim=96, depths=(1, 1), heads=(1, 1), image_size=(56, 56)), Beside())
    assert told.data.resized((224, 224)) == (256, 256)
    assert "no size of torchvision's" in told.images_assumed[0]


def test_windows_stay_and_what_makes_no_whole_patch_is_dropped() -> None:
    told = read_swin(swin_shapes(norm=False, head=False), Beside(labels=("cat", "dog")))
    fields = told.fields
    assert (fields["resized_window"], fields["small_maps"], fields["whole_patches"]) == ("keep", "pad", True)
    assert (told.labels, len(told.filled), told.guessed) == (("cat", "dog"), 2, {"image_size"})
