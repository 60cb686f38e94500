"""GAM: the dialect is told or refused, never guessed; the rest is read from shapes."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import ShapeError, config_tree, gam
from slide_export.models.gam import GamConfig, GamResNet
from slide_export.models.global_attention import shuffle

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
    with pytest.raises(ShapeError, match=f"say .*--model gam_dialect={dialect} "):
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
    assert gam.resize(SMALL, "gam_resnet18_a_plain").dialect == "a_plain"


def test_any_input_size_is_averaged_whole() -> None:
    model = GamResNet(SMALL.at((96, 128))).eval()
    with torch.inference_mode():
        images = torch.randn(1, 3, 96, 128)
        expected = model.fc(model.features(images)[-1].mean(dim=(2, 3)))
        assert torch.equal(model(images), expected)


def test_shuffle_is_pytorchs() -> None:
    x = torch.randn(2, 12, 3, 5)
    assert torch.equal(shuffle(x, 4), torch.nn.functional.channel_shuffle(x, 4))
