"""DAT in both forms of sampling is proved; references that are made in place, as upstream does, are caught."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import LoweringError, ParityError
from slide_export.core.request import ExportRequest
from slide_export.inference.forms import SAMPLINGS
from slide_export.models import deformable_attention
from slide_export.models.config_tree import write_config
from slide_export.models.dat import FAMILY
from slide_export.models.deformable_attention import DeformableShape
from slide_export.workflows import export as pipeline
from tests.conftest import randomise
from tests.models.dat_configs import SMALL
from tests.targets import batch_of, made_here

NOT_CONVERTED = {("ncnn", "hats"): "does not have", ("ncnn", "grid_sample"): "refuses model.ncnn.param"}
"""By the words of the refusal."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dat") / "dat.pth"
    state = randomise(FAMILY.build(SMALL)).state_dict()
    torch.save({"model": state, "config": write_config(SMALL, "dat")}, path)
    return path


def in_place(offsets: Tensor, _references: Tensor, reach: Tensor, shape: DeformableShape) -> Tensor:
    """What `moved` computes, with references made in the forward pass, in place, on a view.

    Source: LeapLabTHU/DAT 566a593, models/dat_blocks.py, DAttentionBaseline._get_ref_points.
    """
    rows, cols = (
        torch.linspace(0.5, side - 0.5, side, dtype=offsets.dtype, device=offsets.device) for side in shape.grid
    )
    ref = torch.stack(torch.meshgrid(rows, cols, indexing="ij"), -1)
    ref[..., 1].div_(shape.grid[1]).mul_(2).sub_(1)
    ref[..., 0].div_(shape.grid[0]).mul_(2).sub_(1)
    return offsets.tanh() * reach + ref.reshape(-1, 2)


def test_what_is_planted_is_the_same_function_in_pytorch() -> None:
    model = randomise(FAMILY.build(SMALL)).eval()
    x = torch.randn(1, 3, *SMALL.image_size)
    with torch.inference_mode():
        expected = model(x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deformable_attention, "moved", in_place)
            assert (model(x) - expected).abs().max() <= 1e-5  # the same sums, rounded in another order


def test_references_made_in_place_are_caught(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformable_attention, "moved", in_place)
    with pytest.raises(ParityError, match=r"dat-onnx-fp32\.rejected"):
        pipeline.export(ExportRequest(checkpoint, out=tmp_path, image_count=2))


def test_grid_sample_is_proved_and_is_one_operator(checkpoint: Path, tmp_path: Path) -> None:
    import onnx

    made = pipeline.export(ExportRequest(checkpoint, form="grid_sample", out=tmp_path, image_count=2))
    assert made.manifest.parity.passed
    assert made.manifest.options.form == "grid_sample"
    nodes = [node.op_type for node in onnx.load(made.path / made.manifest.artifact.path).graph.node]
    assert nodes.count("GridSample") == 2 * sum(letters.count("D") for letters in SMALL.blocks)  # map and biases


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), made_here(("fp32", "fp16")))
@pytest.mark.parametrize("form", SAMPLINGS)
def test_each_form_is_proved_everywhere(
    form: str, precision: str, target: str, checkpoint: Path, tmp_path: Path
) -> None:
    io = ModelIO(batch=batch_of(target))
    asked = ExportRequest(checkpoint, target, precision, form=form, out=tmp_path, image_count=2, interface=io)
    if (target, form) in NOT_CONVERTED:
        with pytest.raises(LoweringError, match=NOT_CONVERTED[target, form]):
            pipeline.export(asked)
        return
    made = pipeline.export(asked)
    assert made.manifest.parity.passed
    assert made.manifest.options.form == form
