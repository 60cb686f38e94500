"""Configurations written to a tree of plain values and read back."""

import json
from typing import Any

import pytest

from slide_export.models import FAMILIES, Family, IncompleteError
from slide_export.models.config_tree import read_config, write_config
from slide_export.models.nat import NatConfig

CONFIG = NatConfig(16, (1, 2, 1, 1), (1, 2, 2, 4), 2.0, image_size=(64, 96), num_classes=10, slide_stages=(0, 2))
OURS = [family for family in FAMILIES if "swin" not in family.name or "cswin" in family.name]


@pytest.mark.parametrize("family", OURS, ids=lambda family: family.name)
def test_every_variant_survives_json(family: Family) -> None:
    for config in family.variants.values():
        assert family.read_config(json.loads(json.dumps(write_config(config, family.name)))) == config


def test_a_square_side_may_be_one_number() -> None:
    tree = write_config(CONFIG, "nat")
    tree["DATA"]["IMG_SIZE"] = 64
    config = read_config(tree, "nat", NatConfig)
    assert config is not None
    assert config.image_size == (64, 64)


@pytest.mark.parametrize("tree", [{}, {"MODEL": {"NUM_CLASSES": 10}}, write_config(CONFIG, "slide_nat")])
def test_another_familys_tree_is_none(tree: dict[str, Any]) -> None:
    assert read_config(tree, "nat", NatConfig) is None


@pytest.mark.parametrize("path", ["MODEL.TYPE", "MODEL.NUM_CLASSES", "MODEL.NAT.HEADS", "DATA.IMG_SIZE"])
def test_a_field_that_is_missing_is_named(path: str) -> None:
    tree = write_config(CONFIG, "nat")
    *branches, name = path.split(".")
    place: Any = tree
    for one in branches:
        place = place[one]
    del place[name]
    with pytest.raises(IncompleteError) as refused:
        read_config(tree, "nat", NatConfig)
    assert refused.value.missing == (path,)
