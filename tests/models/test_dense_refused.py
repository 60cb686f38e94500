"""Detectors and segmenters that are not exported: refused by name, and the maps of their backbones exact."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.models.heads.fpn import LATERAL, OUTPUT, Fpn, FpnFields
from tests.models.dense_cases import golden, size, write
from tests.models.test_dense_golden import error

EXACT = 1e-6
"""Largest error of a float64 run over the deviation; the stored values are float32."""
REFUSED = {"swin_mask_rcnn": "Mask R-CNN", "swin_cascade_mask_rcnn": "Cascade R-CNN"}
QUERIES = "decode_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight"


@pytest.mark.parametrize("name", REFUSED)
def test_a_detector_of_two_stages_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = write(golden(name), tmp_path)
    with pytest.raises(CheckpointError, match=rf"found a {REFUSED[name]}.*features"):
        load_checkpoint(path)


def test_a_mask2former_is_refused_by_name(tmp_path: Path) -> None:
    found = golden("swin_upernet_mmseg")
    kept = {key: value for key, value in found.state.items() if key.startswith("backbone.")}
    path = write(replace(found, state={**kept, QUERIES: torch.zeros(2)}), tmp_path)
    with pytest.raises(CheckpointError, match=r"found a Mask2Former.*features"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", REFUSED)
def test_the_maps_of_its_backbone_are_those_that_upstreams_neck_takes(name: str, tmp_path: Path) -> None:
    found = golden(name)
    model = load_checkpoint(write(found, tmp_path), features=True, input_size=size(found))
    with torch.inference_mode():
        maps = model.module.double().features(found.inputs["input"].double())  # type: ignore[operator]
        neck = Fpn(FpnFields(neck_channels=16), tuple(map_.shape[1] for map_ in maps)).double()
        own = {key: value for key, value in found.state.items() if key.startswith((LATERAL, OUTPUT))}
        neck.load_state_dict({key.removeprefix("neck."): value for key, value in own.items()})
        levels = neck(maps)
    assert max(error(ours, found.outputs[f"neck.{at}"]) for at, ours in enumerate(levels)) <= EXACT
