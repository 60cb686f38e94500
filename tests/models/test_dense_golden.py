"""Small segmenters of upstream's, reproduced from their own files: maps, logits, classes of pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.model import Model
from slide_export.inference.fuse import fuse
from tests.models.dense_cases import VALUES, golden, size, write
from tests.models.golden_recipe import Case

EXACT = 1e-6
"""Largest error of a float64 run over the output's deviation: the stored values are float32, 6e-8 of themselves."""
RESIZED = 5e-6
"""The same of PVT, whose position embeddings are resized once and kept in float32."""
SINGLE = 2e-5
"""The same of a float32 run: upstream's own is at 5e-6 of values up to 4 deviations."""

SEGMENTERS = {
    "swin_upernet_mmseg": "swin_upernet",
    "swin_upernet_fork": "swin_upernet",
    "slide_swin_upernet": "slide_swin_upernet",
    "pvt_semfpn": "pvt_semantic_fpn",
    "pvt_v2_semfpn": "pvt_v2_semantic_fpn",
}


@pytest.fixture(scope="module", params=SEGMENTERS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Model]:
    found = golden(request.param)
    path = write(found, tmp_path_factory.mktemp("dense"))
    return found, load_checkpoint(path, input_size=size(found), values=VALUES.get(found.name, {}))


def error(found: torch.Tensor, expected: np.ndarray) -> float:
    wanted = expected.astype(np.float64)
    return float(np.abs(found.double().numpy() - wanted).max() / wanted.std())


def test_the_file_tells_the_model(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    assert model.family == SEGMENTERS[found.name]
    assert model.task == "segment"
    assert model.config.num_classes == found.meta["head"]["classes"]
    assert model.labels == tuple(f"class {index}" for index in range(model.config.num_classes))


def test_maps_and_logits_are_upstreams_in_float64(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    images = found.inputs["input"].double()
    exact = model.module.double()
    with torch.inference_mode():
        maps, logits = exact.features(images), exact(images)
    exact.float()
    stored = [found.outputs[f"feature.stage{number}"] for number in range(1, 5)]
    limit = RESIZED if found.name.startswith("pvt_sem") else EXACT
    assert max(error(ours, theirs) for ours, theirs in zip(maps, stored, strict=True)) <= limit
    assert error(logits, found.outputs["logits"]) <= limit


def test_the_inference_form_is_upstreams_in_float32(loaded: tuple[Case, Model]) -> None:
    found, model = loaded
    fused = fuse(model).module
    with torch.inference_mode():
        logits = fused(found.inputs["input"])
    assert error(logits, found.outputs["logits"]) <= SINGLE


@pytest.mark.parametrize(
    ("palette", "taken"),
    [
        ([[at, 2 * at, 3 * at] for at in range(6)], tuple(n * at for at in range(6) for n in (1, 2, 3))),
        (None, ()),
        ("random", ()),
        ([[1, 2, 3]] * 5, ()),
        ([[1, 2, 256]] * 6, ()),
    ],
)
def test_colours_of_classes_are_the_files(palette: object, taken: tuple[int, ...], tmp_path: Path) -> None:
    found = golden("pvt_semfpn")
    path = write(found, tmp_path)
    content = torch.load(path, weights_only=True)
    content["meta"]["PALETTE"] = palette
    torch.save(content, path)
    model = load_checkpoint(path, input_size=size(found), values=VALUES["pvt_semfpn"])
    assert model.config.palette == taken
