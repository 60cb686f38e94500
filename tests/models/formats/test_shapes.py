"""What the shapes of a Swin tell of its configuration, and what wins over them."""

import pytest
import torch

from slide_export.models.family import ShapeError, UntoldError
from slide_export.models.formats.format import Beside
from slide_export.models.formats.shapes import (
    LAST_NORM,
    feature_norms,
    has,
    last_norm,
    swin_fields,
    windows_alike,
)

from .swin_shapes import swin_shapes

NOTHING = Beside()


def test_a_pattern_is_looked_for_at_the_start_of_a_key() -> None:
    assert has(["a.0.b", "norm.weight"], r"a\.\d\.")
    assert not has(["x.a.0.b"], r"a\.\d\.")
    assert not has([], "")


@pytest.mark.parametrize(
    ("norm", "head", "filled"),
    [(True, True, {}), (True, False, {}), (False, True, {}), (False, False, LAST_NORM)],
)
def test_the_last_norm_is_filled_in_where_neither_it_nor_a_head_is_there(
    norm: bool, head: bool, filled: dict[str, float]
) -> None:
    """A norm of weight 1 and bias 0 is that of LayerNorm's first state."""
    assert last_norm(swin_shapes(norm=norm, head=head)) == filled
    assert list(LAST_NORM.values()) == [1.0, 0.0]


def test_windows_are_alike_until_a_stage_has_a_smaller_one() -> None:
    assert windows_alike(swin_shapes())
    assert not windows_alike(swin_shapes(image_size=(192, 192)))  # the last map is 6x6
    assert not windows_alike(swin_shapes(depths=(2, 1, 1, 1), masks=True))  # the mask tells the input
    assert not windows_alike({})


def test_a_table_of_slide_attention_is_no_windows() -> None:
    state = swin_shapes()
    state["layers.0.blocks.0.attn.relative_position_bias_table"] = torch.empty(1, 1, 1, 9, 1, 1, device="meta")
    assert windows_alike(state)


def test_the_shapes_tell_all_that_nobody_else_does() -> None:
    told = swin_fields(swin_shapes(mlp_ratio=2.0), {}, NOTHING)
    assert told == {
        "embed_dim": 8,
        "depths": (1, 1, 1, 1),
        "heads": (1, 1, 2, 4),
        "window": (7, 7),
        "image_size": (224, 224),
        "mlp_ratio": 2.0,
        "num_classes": 10,
        "feature_norms": (),
    }


def test_what_a_file_tells_wins_over_the_shapes() -> None:
    told = swin_fields(swin_shapes(), {"depths": (2, 2), "image_size": (448, 224)}, NOTHING)
    assert (told["depths"], told["image_size"]) == ((2, 2), (448, 224))


def test_a_window_that_is_told_tells_the_input_where_all_tables_are_alike() -> None:
    """Of four stages the input is 32 times the window's longer side; of two, 8 times."""
    assert swin_fields(swin_shapes(), {"window": (6, 5)}, NOTHING)["image_size"] == (192, 192)
    two = swin_shapes(depths=(1, 1), heads=(1, 1), image_size=(56, 56))
    assert swin_fields(two, {"window": (7, 7)}, NOTHING)["image_size"] == (56, 56)
    cut = swin_shapes(image_size=(192, 192))
    assert swin_fields(cut, {"window": (7, 7)}, NOTHING)["image_size"] == (192, 192)  # by the stage that is cut


def test_a_window_that_the_user_says_is_held_against_the_tables_and_the_file() -> None:
    said = Beside(said={"window_size": "7"})
    assert swin_fields(swin_shapes(), {}, said)["window"] == (7, 7)
    assert swin_fields(swin_shapes(), {"window": [7, 7]}, said)["window"] == [7, 7]
    with pytest.raises(ShapeError, match="225 positions, where the widest table has 169"):
        swin_fields(swin_shapes(), {}, Beside(said={"window_size": "8"}))
    with pytest.raises(ShapeError, match=r"windows of \(6, 6\) in the library's own configuration, where \(7, 7\)"):
        swin_fields(swin_shapes(), {"window": (6, 6)}, said)


def test_windows_that_are_no_square_are_asked_for() -> None:
    oblong = swin_shapes(window=(7, 4), image_size=(224, 128))
    with pytest.raises(UntoldError, match="rows and columns of its windows") as asked:
        swin_fields(oblong, {}, NOTHING)
    assert asked.value.value == "window_size"
    told = swin_fields(oblong, {}, Beside(said={"window_size": "7x4"}))
    assert (told["window"], told["image_size"]) == ((7, 4), (224, 128))


def test_norms_of_maps_are_numbered_in_their_keys() -> None:
    assert feature_norms(swin_shapes(feature_norms=(0, 2))) == (0, 2)
    assert feature_norms(dict.fromkeys(["norm.weight", "norm1.bias", "a.norm1.weight", "norm12.weight"])) == (12,)  # type: ignore[arg-type]
