"""Oblong windows: told by their index, by the user, or refused with the option that says them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.models.swin import SwinConfig, SwinTransformer
from tests.conftest import randomise

State = dict[str, Tensor]
OBLONG = SwinConfig(
    16, (1, 2), (1, 2), window=(2, 4), image_size=(16, 32), num_classes=10, small_maps="pad", whole_patches=True
)  # as torchvision computes it


def torchvision_names(state: State, *, index: bool = True) -> State:
    """The names of torchvision for those of a Swin of two stages, its index flat."""
    names = {"patch_embed.proj": "features.0.0", "patch_embed.norm": "features.0.2"}
    names |= {"layers.0.downsample": "features.2", "layers.0.blocks": "features.1", "layers.1.blocks": "features.3"}
    names |= {".mlp.fc1": ".mlp.0", ".mlp.fc2": ".mlp.3"}
    renamed = {}
    for key, value in state.items():
        if key.endswith("attn_mask") or (key.endswith("_index") and not index):
            continue
        name = key
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        renamed[name] = value.flatten() if key.endswith("_index") else value
    return renamed


def saved(config: SwinConfig, tmp_path: Path, *, index: bool = True) -> tuple[Path, SwinTransformer]:
    torch.manual_seed(2)
    model = randomise(SwinTransformer(config))
    torch.save(torchvision_names(dict(model.state_dict()), index=index), tmp_path / "swin.pth")
    return tmp_path / "swin.pth", model


@pytest.mark.parametrize(("window", "size"), [((2, 4), (16, 32)), ((4, 2), (32, 16))])
def test_an_index_tells_a_window_and_which_way_it_lies(
    window: tuple[int, int], size: tuple[int, int], tmp_path: Path
) -> None:
    config = SwinConfig(**{**vars(OBLONG), "window": window, "image_size": size})
    path, model = saved(config, tmp_path)
    loaded = load_checkpoint(path)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    assert (loaded.config.window, loaded.image_size) == (window, size)
    with torch.inference_mode():
        assert torch.equal(loaded.module(images), model(images))


def test_without_an_index_the_user_says_the_window(tmp_path: Path) -> None:
    path, model = saved(OBLONG, tmp_path, index=False)
    with pytest.raises(CheckpointError, match=r"a table of 21 positions.*\(values window_size=8x10\)"):
        load_checkpoint(path)
    loaded = load_checkpoint(path, values={"window_size": "2x4"})
    images = torch.randn(1, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(loaded.module(images), model(images))
        turned = load_checkpoint(path, values={"window_size": "4x2"}, input_size=(16, 32)).module(images)
    assert not torch.allclose(turned, model(images), atol=1e-3)  # nothing but the user tells the two apart
    with pytest.raises(CheckpointError, match="27 positions, where the widest table has 21"):
        load_checkpoint(path, values={"window_size": "2x5"})
    with pytest.raises(RequestError, match="window_size as rows and columns, 7 or 8x10; found 'wide'"):
        load_checkpoint(path, values={"window_size": "wide"})


def test_a_square_window_is_told_by_its_table(tmp_path: Path) -> None:
    path, _ = saved(SwinConfig(**{**vars(OBLONG), "window": (2, 2), "image_size": (16, 16)}), tmp_path)
    assert load_checkpoint(path, values={"window_size": "2"}).config.window == (2, 2)  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="21 positions, where the widest table has 9"):
        load_checkpoint(path, values={"window_size": "2x4"})
