"""Every small model of another library, loaded from the file that the library writes: exact, or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from tests.exporter.checkpoint.foreign import NAMES, golden, write

TOLERANCE = 1e-5  # of the output's standard deviation; the libraries' own float32 is within 4e-6 of their float64

HEADS = {"heads": "1,2,5,8"}  # of small widths: no shape and no file tells them
OPTIONS: dict[str, dict[str, str]] = {
    "timm_pvt_v2": HEADS,
    "timm_pvt_v2_li": HEADS,
    "timm_twins_pcpvt": {"heads": "1,2,3,4"},
    "mmpretrain_pcpvt": {"heads": "1,2,4,4"},
}
REFUSED = {
    "timm_swin_stagewindows": r"windows of 4, 2, 4, 2 .*Swin-S3",
    "torchvision_swin_v2": "found SwinV2",
    "timm_mvitv2_cls": "a class token",
    "mmpretrain_svt": "of whose windows nothing is told",
}
BACKBONES = tuple(name for name in NAMES if name.startswith(("mmsegmentation", "mmdetection")))
EXACT = tuple(name for name in NAMES if name not in REFUSED and name not in BACKBONES)


def load(name: str, tmp_path: Path, **options: Any) -> tuple[Any, Any]:
    drawn = golden(name)
    rows, cols = drawn.meta["input_shape"][2:]
    path = write(drawn, tmp_path)
    return drawn, load_checkpoint(path, input_size=(rows, cols), values=OPTIONS.get(name, {}), **options)


@pytest.mark.parametrize("name", EXACT)
def test_logits_are_the_librarys(name: str, tmp_path: Path) -> None:
    drawn, model = load(name, tmp_path)
    with torch.inference_mode():
        logits = model.module(drawn.inputs["input"])
    expected = torch.from_numpy(drawn.outputs["logits"])
    assert (logits - expected).abs().max() / expected.std() <= TOLERANCE


@pytest.mark.parametrize("name", BACKBONES)
def test_stage_maps_are_the_librarys(name: str, tmp_path: Path) -> None:
    drawn, model = load(name, tmp_path, features=True)
    with torch.inference_mode():
        maps = model.module.features(drawn.inputs["input"])
    for number, stage in enumerate(maps):
        expected = torch.from_numpy(drawn.outputs[f"feature.stage{number}"])
        assert (stage - expected).abs().max() / expected.std() <= TOLERANCE


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exported_is_refused_by_what_it_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=REFUSED[name]):
        load(name, tmp_path)


def load_svt(folder: Path) -> tuple[Any, Any]:
    """Load OpenMMLab's Twins-SVT, whose windows and heads stand in the configuration alone."""
    drawn = golden("mmpretrain_svt")
    meta = {"mmengine_version": "0.10.7", "cfg": f"model = {drawn.meta['arguments']!r}"}
    torch.save({"meta": meta, "state_dict": dict(drawn.state)}, folder / "epoch_1.pth")
    return drawn, load_checkpoint(folder / "epoch_1.pth", input_size=(64, 64))


def test_a_twins_of_openmmlab_with_its_configuration_is_exact(tmp_path: Path) -> None:
    """The third stage's norm is handed on."""
    drawn, model = load_svt(tmp_path)
    assert (model.config.normed_stages, model.config.windows) == ((2,), (2, 2, 2, 2))
    with torch.inference_mode():
        logits = model.module(drawn.inputs["input"])
    expected = torch.from_numpy(drawn.outputs["logits"])
    assert (logits - expected).abs().max() / expected.std() <= TOLERANCE
