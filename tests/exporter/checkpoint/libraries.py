"""timm, torchvision and transformers beside the CPU build of torch, and small random models of them."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let the libraries warn of their own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def library(name: str) -> ModuleType:
    """Import a library, or skip the test where `make slow` has not installed it.

    torchvision's wheel has compiled operators that do not load beside the CPU build of torch, and without them its
    import fails where it describes `nms` and `qnms`. The models here use neither: their schemas are defined first.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    with quiet():
        if not hasattr(torch.ops.torchvision, "nms"):
            _define_schemas()
        return pytest.importorskip(name, reason=f"{name} comes with the extra formats-dev, by `make slow`")


SCHEMAS: list[torch.library.Library] = []  # a library's schemas last as long as its object


def _define_schemas() -> None:
    schemas = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        schemas.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    SCHEMAS.append(schemas)


def random_weights(module: Any, seed: int = 0) -> nn.Module:
    """Give every parameter a value that training could have left: no zeros, no ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    found: nn.Module = module.eval()
    return found


def images(rows: int, cols: int) -> torch.Tensor:
    """Draw two inputs."""
    return torch.randn(2, 3, rows, cols, generator=torch.Generator().manual_seed(3))
