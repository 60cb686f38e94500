"""What the shapes of a ResNet tell, and the sizes of its maps."""

import pytest
import torch
from torch import Tensor

from slide_export.models.family import ShapeError
from slide_export.models.resnet import ResNetConfig, attention_names, infer_resnet, read_data, without_counts


def shapes(kernel: int = 7, *, stages: int = 4, bottleneck: bool = False, head: bool = True) -> dict[str, Tensor]:
    found = {"conv1.weight": (16, 3, kernel, kernel)}
    for stage in range(1, stages + 1):
        found |= {f"layer{stage}.{block}.conv1.weight": (1,) for block in range(stage)}
    found |= {"layer1.0.conv3.weight": (1,)} if bottleneck else {}
    found |= {"fc.weight": (10, 1)} if head else {}
    return {name: torch.empty(sides, device="meta") for name, sides in found.items()}


def test_the_stem_tells_the_input() -> None:
    found = infer_resnet(shapes())
    assert (found.depths, found.width, found.num_classes, found.expansion) == ((1, 2, 3, 4), 16, 10, 1)
    assert (found.cifar, found.image_size) == (False, (224, 224))
    small = infer_resnet(shapes(3, bottleneck=True, head=False))
    assert (small.cifar, small.image_size, small.expansion, small.num_classes) == (True, (32, 32), 4, 0)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (shapes(5), "4 stages behind a stem of 5x5"),
        (shapes(stages=3), "3 stages behind a stem of 7x7"),
        (shapes(stages=5), "5 stages"),
        ({key: value for key, value in shapes().items() if key != "conv1.weight"}, r"no conv1\.weight"),
    ],
)
def test_another_stem_or_number_of_stages_is_refused(state: dict[str, Tensor], sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        infer_resnet(state)


@pytest.mark.parametrize(
    ("cifar", "side", "sides"), [(False, 224, (56, 7)), (False, 225, (57, 8)), (True, 32, (32, 4)), (True, 33, (33, 5))]
)
def test_every_halving_rounds_up(cifar: bool, side: int, sides: tuple[int, int]) -> None:
    config = ResNetConfig((1, 1, 1, 1), bottleneck=False, cifar=cifar, image_size=(side, 1))
    assert (config.resolution(0)[0], config.resolution(3)[0]) == sides
    assert config.resolution(3)[1] == 1


def test_a_map_that_is_averaged_whole_has_any_size() -> None:
    config = ResNetConfig((1, 1, 1, 1), bottleneck=False)
    assert config.at((64, 999)).image_size == (64, 999)


def test_attention_blocks_are_found_by_what_their_keys_go_on_with() -> None:
    keys = dict.fromkeys(["layer1.0.cbam.gate.0", "layer2.1.att.gate.1", "layer1.0.conv1.weight", "gate.0"])
    assert attention_names(keys, r"gate\.\d") == {"cbam", "att"}  # type: ignore[arg-type]


def test_counts_of_batches_are_zeroed_and_nothing_else() -> None:
    state = {"bn1.num_batches_tracked": torch.tensor(7), "bn1.weight": torch.ones(2)}
    found = without_counts(state)
    assert (found["bn1.num_batches_tracked"].item(), found["bn1.weight"].tolist()) == (0, [1, 1])


@pytest.mark.parametrize(("cifar", "keep_aspect"), [(True, False), (False, True)])
def test_cifars_network_takes_the_image_whole(cifar: bool, keep_aspect: bool) -> None:
    found = read_data(None, ResNetConfig((1, 1, 1, 1), bottleneck=False, cifar=cifar))
    assert (found.keep_aspect, found.interpolation) == (keep_aspect, "bilinear")
    assert found.scale == (1.0 if cifar else 256 / 224)
