"""Operations of a saved program get the names of PyTorch modules back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slide_export.core.model import Model
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse, inference_form
from slide_export.mil.module_names import _dotted, module_names
from slide_export.models import FAMILIES, Family
from tests.exporter.linter.conftest import convert_module


@pytest.fixture(scope="module")
def names(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules of each operation type of the lowered small model."""
    lowered = choose(fuse(model), "grouped").module
    path = tmp_path_factory.mktemp("names") / "model.mlpackage"
    package = convert_module(lowered, (1, 3, *model.image_size), path)
    modules = module_names(package.operations())
    found: dict[str, set[str]] = {}
    for op in package.operations():
        if not op.is_constant:
            found.setdefault(op.type, set()).add(modules[op.outputs[0].name])
    return found


def test_an_operation_with_a_weight_has_its_modules_name(names: dict[str, set[str]], model: Model) -> None:
    linears = {name for name, module in model.module.named_modules() if isinstance(module, nn.Linear)}
    assert names["linear"] == linears
    slides = ("layers.0.blocks.0", "layers.1.blocks.0", "layers.1.blocks.1")
    assert names["conv"] == {"patch_embed.proj"} | {f"{b}.attn.{part}" for b in slides for part in ("keys", "values")}


def test_an_operation_without_one_lies_between_two(names: dict[str, set[str]]) -> None:
    blocks = ("0.blocks.0", "1.blocks.0", "1.blocks.1", "2.blocks.0", "2.blocks.1", "3.blocks.0")
    assert names["softmax"] == {f"layers.{block}.attn" for block in blocks}
    assert names["gelu"] == {f"layers.{block}.mlp" for block in blocks}


def test_dots_stand_beside_numbers_and_where_siblings_part() -> None:
    flat = ["layers_0_self_attn_q_proj", "layers_0_self_attn_k_proj", "head", "patch_embed_proj", "attn_dep_conv1"]
    assert list(_dotted(flat).values()) == [
        "layers.0.self_attn.q_proj",
        "layers.0.self_attn.k_proj",
        "head",
        "patch_embed.proj",
        "attn.dep_conv1",
    ]


AMBIGUOUS = {
    "twins",
    "dat",
    "mvitv2",
    "mv_swin_t",
}  # a foreign package's flat names do not tell `block_1` from `block.1` in these


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            family,
            id=family.name,
            marks=[pytest.mark.xfail(strict=True, reason="flat names do not tell where a dot stood")]
            if family.name in AMBIGUOUS
            else [],
        )
        for family in FAMILIES
    ],
)
def test_every_familys_names_come_back(family: Family) -> None:
    config = next(iter(family.variants.values()))
    with torch.device("meta"):
        module = inference_form(family.build(config))
    owners = {key.rpartition(".")[0] for key, _ in module.named_parameters() if key.endswith((".weight", ".bias"))}
    assert set(_dotted(name.replace(".", "_") for name in owners).values()) == owners


def test_a_shared_weight_does_not_name_the_module(tmp_path: Path) -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 16, 3), nn.Conv2d(16, 4, 3)
            self.third = nn.Conv2d(4, 16, 3)
            self.third.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.third(self.second(self.first(x)))

    package = convert_module(Twins(), (1, 4, 16, 16), tmp_path / "model.mlpackage")
    modules = module_names(package.operations())
    assert [modules[op.outputs[0].name] for op in package.operations() if op.type == "conv"] == [
        "first",
        "second",
        "third",
    ]


def test_a_program_without_weights_tells_nothing(tmp_path: Path) -> None:
    package: Any = convert_module(nn.Softmax(1), (1, 4, 8, 8), tmp_path / "model.mlpackage")
    assert set(module_names(package.operations()).values()) == {""}
