"""Maps of stages: as many as a backbone hands on, under the names of its stages, through proof, bundle and verify."""

import json
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch

from slide_export import export, verify
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.models.pvt import PvtConfig
from slide_export.models.swin import SwinConfig
from slide_export.tasks.features import outputs, stages_of
from tests.exporter.checkpoint.foreign import golden


@pytest.mark.parametrize(
    ("chosen", "names"),
    [((), ()), ((0, 1, 2, 3), ()), ((1, 2), ("stage2", "stage3")), ((3,), ("stage4",))],
)
def test_names_are_those_of_the_stages(chosen: tuple[int, ...], names: tuple[str, ...]) -> None:
    for config in (SwinConfig(16, (1, 1, 1, 1), (1, 1, 1, 1)), PvtConfig((8, 8, 8, 8), (1, 1, 1, 1), (1, 1, 1, 1))):
        assert stages_of(replace(config, feature_stages=chosen)) == names
    assert outputs(ModelIO(stages=names)) == (names or ("stage1", "stage2", "stage3", "stage4"))


def test_a_backbone_of_fewer_stages_has_fewer_maps() -> None:
    assert stages_of(SwinConfig(16, (1, 1, 1), (1, 1, 1))) == ("stage1", "stage2", "stage3")


def test_only_what_a_backbone_hands_on_is_exported_and_verified(tmp_path: Path) -> None:
    """mmsegmentation's out_indices=(1, 3): norms stand at these stages alone."""
    drawn = golden("mmsegmentation_swin")
    kept = {f"backbone.{key}": value for key, value in drawn.state.items() if not key.startswith(("norm0", "norm2"))}
    torch.save({"meta": {"mmseg_version": "1.2.2"}, "state_dict": kept}, tmp_path / "iter_1.pth")
    loaded = load_checkpoint(tmp_path / "iter_1.pth", input_size=(64, 64), features=True)
    assert "a backbone that hands on the maps of stages 2, 4" in loaded.provenance.notes
    bundle = export(tmp_path / "iter_1.pth", out=tmp_path / "out", input_size=(64, 64), features=True)
    session = onnxruntime.InferenceSession(bundle.path / bundle.manifest.artifact.path)
    assert [output.name for output in session.get_outputs()] == ["stage2", "stage4"]
    found = session.run(None, {"images": drawn.inputs["input"].numpy()})
    for value, stage in zip(found, ("feature.stage1", "feature.stage3"), strict=True):  # 0-based
        expected = drawn.outputs[stage]
        assert abs(value - expected).max() <= 1e-5 * expected.std()
    assert verify(bundle.path).passed
    assert json.loads((bundle.path / "manifest.json").read_text())["outputs"][1]["name"] == "stage4"
