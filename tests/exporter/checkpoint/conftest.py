"""A small model whose checkpoints several tests write."""

import pytest
import torch
from torch import Tensor

from slide_export.models.swin import SwinConfig, SwinTransformer
from tests.conftest import randomise

SMALL = SwinConfig(16, (1, 1), (1, 2), (4, 4), (64, 64), 10)  # maps of 16 and 8: no table tells the input


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(randomise(SwinTransformer(SMALL)).state_dict())
