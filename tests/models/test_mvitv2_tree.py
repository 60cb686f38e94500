"""Upstream's configuration of an MViTv2: heads, widths and queries change in the same blocks, or it is refused."""

import copy
from typing import Any

import pytest

from slide_export.models.family import IncompleteError, ShapeError
from slide_export.models.mvitv2_tree import MODELLED, NEEDED, read_fields

MVIT: dict[str, Any] = {
    "DEPTH": 4, "EMBED_DIM": 96, "NUM_HEADS": 1, "DIM_MUL": [[1, 2.0], [3, 2.0]], "HEAD_MUL": [[1, 2.0], [3, 2.0]],
    "POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [2, 1, 1], [3, 2, 2]], "POOL_KV_STRIDE_ADAPTIVE": [4, 4],
}  # fmt: skip


def tree(**changes: Any) -> dict[str, Any]:
    mvit = {**copy.deepcopy(MVIT), **changes}
    return {"MVIT": mvit, "DATA": {"TRAIN_CROP_SIZE": 224}, "MODEL": {"NUM_CLASSES": 10}}


def test_the_fields_of_an_mvitv2() -> None:
    assert read_fields(tree()) == {
        "embed_dim": 96,
        "depth": 4,
        "heads": 1,
        "stage_starts": (1, 3),
        "kv_stride": 4,
        "image_size": (224, 224),
        "num_classes": 10,
    }
    more = read_fields(tree(DIM_MUL_IN_ATT=True, MLP_RATIO=3, RESIDUAL_POOLING=False))
    assert (more["widens_in_attention"], more["mlp_ratio"], more["residual_pooling"]) == (True, 3.0, False)


@pytest.mark.parametrize("name", NEEDED)
def test_a_field_that_is_missing_is_named(name: str) -> None:
    whole = tree()
    del whole["MVIT"][name]
    with pytest.raises(IncompleteError) as refused:
        read_fields(whole)
    assert refused.value.missing == (f"MVIT.{name}",)


def test_input_and_classes_are_needed_too() -> None:
    with pytest.raises(IncompleteError) as refused:
        read_fields({"MVIT": MVIT})
    assert refused.value.missing == ("DATA.TRAIN_CROP_SIZE", "MODEL.NUM_CLASSES")


@pytest.mark.parametrize("name", MODELLED)
def test_what_is_published_alone_is_modelled(name: str) -> None:
    value = MODELLED[name]
    read_fields(tree(**{name: tuple(value) if isinstance(value, list) else value}))
    with pytest.raises(ShapeError, match=rf"MVIT\.{name} .* alone is modelled"):
        read_fields(tree(**{name: "another"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"HEAD_MUL": [[1, 2.0], [2, 2.0]]},
        {"HEAD_MUL": [[1, 2.0]]},
        {"HEAD_MUL": [[1, 2.0], [3, 3.0]]},
        {"DIM_MUL": [[1, 2.0], [3, 1.5]]},
        {"DIM_MUL": [[1, 2.0], [2, 2.0]]},
        {"POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [2, 1, 1], [3, 1, 1]]},
        {"POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [2, 1, 1], [3, 4, 4]]},
        {"POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 1], [2, 1, 1], [3, 2, 2]]},
        {"POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [3, 2, 2]]},  # block 2 does not pool
        {"POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [2, 1, 1], [3, 2, 2], [4, 1, 1]]},
        {"DEPTH": 5},
        {"POOL_KV_STRIDE_ADAPTIVE": [4, 2]},
    ],
)
def test_changes_in_different_blocks_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match="and every block pools"):
        read_fields(tree(**changes))


@pytest.mark.parametrize(
    "changes", [{"HEAD_MUL": [1, 3]}, {"POOL_Q_STRIDE": [[0, 1]]}, {"POOL_KV_STRIDE_ADAPTIVE": 4}, {"DEPTH": "4"}]
)
def test_fields_of_another_form_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        read_fields(tree(**changes))


def test_a_field_that_is_not_known_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"MVIT\.SEP_POS_EMBED True"):
        read_fields(tree(SEP_POS_EMBED=True))
    assert read_fields(tree(DROPPATH_RATE=0.1))["depth"] == 4
