"""GAM: the dialect is told or refused, never guessed; the rest is read from shapes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.models import ShapeError, config_tree, gam
from slide_export.models.gam import GamConfig, GamResNet
from slide_export.models.global_attention import shuffle
from tests.conftest import randomise

SMALL = GamConfig((1, 2, 1, 1), bottleneck=False, width=16, num_classes=5, dialect="a")
CONFIGS = {
    "a": SMALL,
    "a_plain": replace(SMALL, dialect="a_plain", bottleneck=True, width=8, block="attention"),
    "b": replace(SMALL, dialect="b"),
    "c": replace(SMALL, dialect="c", rate=2, cifar=True, image_size=(32, 32)),
}


def state_of(config: GamConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return GamResNet(config).state_dict()


@pytest.mark.parametrize("dialect", CONFIGS)
def test_infer_reads_everything_but_the_dialect(dialect: str) -> None:
    config = CONFIGS[dialect]
    state = state_of(config)
    assert gam.matches(state)
    assert gam.infer(state, dialect) == config


@pytest.mark.parametrize("dialect", ["a", "a_plain", "b"])
def test_a_dialect_that_nobody_tells_is_refused_by_the_name_of_the_option(dialect: str) -> None:
    with pytest.raises(ShapeError, match=f"say .*gam_dialect={dialect} "):
        gam.infer(state_of(CONFIGS[dialect]))


def test_key_names_tell_dialect_c() -> None:
    assert gam.infer(state_of(CONFIGS["c"])) == CONFIGS["c"]


@pytest.mark.parametrize(("told", "is_one"), [("b", "a"), ("a", "b"), ("c", "a"), ("a", "c"), ("d", "a")])
def test_a_dialect_that_the_keys_contradict_is_refused(told: str, is_one: str) -> None:
    with pytest.raises(ShapeError, match=f"gam_dialect={told}, where the keys are those of"):
        gam.infer(state_of(CONFIGS[is_one]), told)


def test_groups_that_no_dialect_has_are_refused() -> None:
    state = state_of(CONFIGS["b"])
    state["layer1.0.gam.spatial_attention.0.weight"] = torch.zeros(4, 8, 7, 7)
    with pytest.raises(ShapeError, match="2 groups"):
        gam.infer(state, "b")


def test_an_unknown_dialect_in_a_config_tree_is_refused() -> None:
    told = gam.read_config(config_tree.write_config(replace(SMALL, dialect="d"), "gam"))
    assert told is not None
    with pytest.raises(ShapeError, match="gam_dialect 'd'"):
        GamResNet(told)


def test_read_config_is_the_inverse_of_the_written_tree() -> None:
    assert gam.read_config(config_tree.write_config(SMALL, "gam")) == SMALL


def test_naming_a_variant_names_the_dialect() -> None:
    assert gam.resize(SMALL, gam.VARIANTS["gam_resnet18_a_plain"]).dialect == "a_plain"


def test_any_input_size_is_averaged_whole() -> None:
    model = GamResNet(SMALL.at((96, 128))).eval()
    with torch.inference_mode():
        images = torch.randn(1, 3, 96, 128)
        expected = model.fc(model.features(images)[-1].mean(dim=(2, 3)))
        assert torch.equal(model(images), expected)


def test_shuffle_is_pytorchs() -> None:
    x = torch.randn(2, 12, 3, 5)
    assert torch.equal(shuffle(x, 4), torch.nn.functional.channel_shuffle(x, 4))


@pytest.fixture
def unsaid(tmp_path: Path) -> Path:
    """A file of dialect a that does not say so."""
    torch.save({"model": randomise(GamResNet(SMALL)).state_dict()}, tmp_path / "gam.pth")
    return tmp_path / "gam.pth"


def test_a_file_that_nobody_tells_the_dialect_of_is_refused(unsaid: Path) -> None:
    with pytest.raises(CheckpointError, match=r"say gam_dialect=a .* or gam_dialect=a_plain"):
        load_checkpoint(unsaid)


@pytest.mark.parametrize("dialect", ["a", "a_plain"])
def test_the_user_tells_the_dialect(dialect: str, unsaid: Path) -> None:
    assert load_checkpoint(unsaid, values={"gam_dialect": dialect}).config == replace(SMALL, dialect=dialect)


def test_a_dialect_that_does_not_exist_or_fit_is_refused(unsaid: Path) -> None:
    with pytest.raises(RequestError, match="expected values gam_dialect as a or a_plain or b or c; found 'd'"):
        load_checkpoint(unsaid, values={"gam_dialect": "d"})
    with pytest.raises(CheckpointError, match="gam_dialect=b, where the keys are those of a or a_plain"):
        load_checkpoint(unsaid, values={"gam_dialect": "b"})


def test_a_variant_tells_the_dialect_and_the_file_its_classes_and_names(tmp_path: Path) -> None:
    config = replace(gam.VARIANTS["gam_resnet18_a"], num_classes=3, block="attention")
    with torch.device("meta"):
        like = GamResNet(config).state_dict()
    torch.save({key: torch.zeros(value.shape, dtype=value.dtype) for key, value in like.items()}, tmp_path / "gam.pth")
    assert load_checkpoint(tmp_path / "gam.pth", variant="gam_resnet18_a").config == config
