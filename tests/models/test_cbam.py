"""CBAM: configurations read from shapes, other input sizes, what another attention in the same places is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.models import ShapeError, cbam, config_tree
from slide_export.models.cbam import CbamConfig, CbamResNet
from tests.conftest import randomise

SMALL = CbamConfig((1, 2, 1, 1), bottleneck=False, width=16, num_classes=5)
CONFIGS = [
    SMALL,
    replace(SMALL, bottleneck=True, width=8),
    replace(SMALL, cifar=True, image_size=(32, 32)),
    cbam.VARIANTS["cbam_resnet101"],
]


@pytest.mark.parametrize("config", CONFIGS)
def test_infer_reads_the_model_from_its_shapes(config: CbamConfig) -> None:
    with torch.device("meta"):
        state = CbamResNet(config).state_dict()
    assert cbam.matches(state)
    assert cbam.infer(state) == config


def test_read_config_is_the_inverse_of_the_written_tree() -> None:
    assert cbam.read_config(config_tree.write_config(SMALL, "cbam")) == SMALL


@pytest.mark.parametrize("size", [(193, 416), (224, 256), (256, 320)])
def test_a_larger_input_is_classified_from_the_corner_of_its_last_map(size: tuple[int, int]) -> None:
    model = randomise(CbamResNet(SMALL.at(size)))
    with torch.inference_mode():
        images = torch.randn(1, 3, *size)
        last = model.features(images)[-1]
        expected = model.fc(torch.nn.functional.avg_pool2d(last, 7)[:, :, 0, 0])  # as upstream pools
        assert last.shape[2:] == SMALL.at(size).resolution(3)
        assert torch.allclose(model(images), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(192, 224), (224, 417), (448, 448)])
def test_an_input_whose_last_map_has_no_single_corner_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="193 to 416 pixels"):
        SMALL.at(size)


def test_cifar_has_its_own_sizes() -> None:
    small = replace(SMALL, cifar=True, image_size=(32, 32))
    assert small.at((40, 56)).resolution(3) == (5, 7)
    with pytest.raises(ShapeError, match="25 to 56 pixels"):
        small.at((64, 64))


def test_channel_gate_alone_and_bam_are_refused() -> None:
    state = CbamResNet(SMALL).state_dict()
    with pytest.raises(ShapeError, match="spatial gate"):
        cbam.infer({key: value for key, value in state.items() if "SpatialGate" not in key})
    with pytest.raises(ShapeError, match="BAM"):
        cbam.infer({**state, "bam1.channel_att.gate_c.gate_c_fc_0.weight": torch.zeros(1, 16)})


def test_a_plain_resnet_is_no_cbam() -> None:
    state = {key: value for key, value in CbamResNet(SMALL).state_dict().items() if ".cbam." not in key}
    assert not cbam.matches(state)


def test_preprocessing_is_bilinear() -> None:
    data = cbam.read_data(None, SMALL)
    assert (data.interpolation, data.keep_aspect, data.resized((224, 224))) == ("bilinear", True, (256, 256))


@pytest.mark.parametrize(("size", "said"), [((224, 224), []), ((224, 256), ["a last map of 7x8"])])
def test_a_corner_is_said_of_an_input_that_is_more_than_it(
    size: tuple[int, int], said: list[str], tmp_path: Path
) -> None:
    trained(tmp_path / "last.pth", counters=True)
    notes = load_checkpoint(tmp_path / "last.pth", input_size=size).provenance.notes
    assert [note for note in notes if note.startswith("classified from")] == [
        f"classified from the top-left 7x7 of {each}, as upstream does" for each in said
    ]


def trained(path: Path, *, counters: bool, head: bool = True) -> dict[str, torch.Tensor]:
    """Save a model as upstream does, parallel and after some batches, and tell its weights."""
    state = randomise(CbamResNet(SMALL)).state_dict()
    state = {key: value + 7 if key.endswith("num_batches_tracked") else value for key, value in state.items()}
    kept = {key: value for key, value in state.items() if counters or not key.endswith("num_batches_tracked")}
    kept = {key: value for key, value in kept.items() if head or not key.startswith("fc.")}
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in kept.items()}}, path)
    return state


@pytest.mark.parametrize("counters", [True, False])
def test_a_file_loads_whatever_its_batch_norms_counted(counters: bool, tmp_path: Path) -> None:
    state = trained(tmp_path / "cbam.pth", counters=counters)
    model = load_checkpoint(tmp_path / "cbam.pth")
    loaded = model.module.state_dict()
    assert (model.family, model.config) == ("cbam", SMALL)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if value.is_floating_point())


def test_a_file_without_a_head_has_maps_alone(tmp_path: Path) -> None:
    trained(tmp_path / "cbam.pth", counters=True, head=False)
    assert load_checkpoint(tmp_path / "cbam.pth", features=True).config == replace(SMALL, num_classes=0)
    with pytest.raises(CheckpointError, match="classification head"):
        load_checkpoint(tmp_path / "cbam.pth")
