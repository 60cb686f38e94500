"""Every family keeps its word: built, recognised and resized by its own functions."""

import pytest
import torch

from slide_export.models import FAMILIES, Family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_variant_is_recognised_from_its_own_state_dict(family: Family) -> None:
    for name, config in family.variants.items():
        with torch.device("meta"):
            state = family.build(config).state_dict()
        assert family.matches(state)
        inferred = family.infer(state)
        assert family.resize(inferred, name).at(inferred.image_size) == inferred  # no shape tells a CSwin's input
