"""Models of published sizes as their libraries make and save them, random weights in them: exact at their own input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slide_export.checkpoint.load import load_checkpoint
from tests.exporter.checkpoint.libraries import images, library, quiet, random_weights

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5  # of the logits' standard deviation: sums in another order, in float32
State = dict[str, Tensor]


def compare(path: Path, theirs: Callable[[Tensor], Tensor], variant: str) -> None:
    loaded = load_checkpoint(path)
    assert loaded.variant == variant
    pictures = images(*loaded.image_size)
    with torch.inference_mode(), quiet():
        expected = theirs(pictures)
        assert (loaded.module(pictures) - expected).abs().max() <= TOLERANCE * expected.std()


TIMM = {
    "swin_tiny_patch4_window7_224": "swin_tiny",
    "swin_base_patch4_window12_384": "swin_base_384",
    "pvt_v2_b0": "pvt_v2_b0",
    "pvt_v2_b2_li": "pvt_v2_b2_li",
    "twins_svt_small": "twins_svt_small",
    "mvitv2_tiny": "mvitv2_tiny",
}


@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, tmp_path: Path) -> None:
    timm = library("timm")
    with quiet():
        model = random_weights(timm.create_model(name))
        timm.models._hub.save_for_hf(model, tmp_path / "folder", safe_serialization=True)
    torch.save({"state_dict": model.state_dict(), "arch": name}, tmp_path / "last.pth.tar")
    compare(tmp_path / "folder", model, TIMM[name])
    compare(tmp_path / "last.pth.tar", model, TIMM[name])


@pytest.mark.parametrize("name", ["swin_t", "swin_s", "swin_b"])
def test_torchvision(name: str, tmp_path: Path) -> None:
    library("torchvision")
    import torchvision.models

    model = random_weights(getattr(torchvision.models, name)())
    torch.save(model.state_dict(), tmp_path / f"{name}.pth")
    compare(tmp_path / f"{name}.pth", model, {"t": "swin_tiny", "s": "swin_small", "b": "swin_base"}[name[-1]])


BASE_384 = {"image_size": 384, "window_size": 12, "embed_dim": 128, "depths": [2, 2, 18, 2]}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "swin_tiny": ("Swin", {}),
    "swin_base_384": ("Swin", {**BASE_384, "num_heads": [4, 8, 16, 32]}),
    "pvt_tiny": ("Pvt", {}),
    "pvt_v2_b0": ("PvtV2", {}),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name: str, tmp_path: Path) -> None:
    transformers = library("transformers")
    kind, options = TRANSFORMERS[name]
    with quiet():
        config = getattr(transformers, f"{kind}Config")(**options, num_labels=1000)
        model: Any = random_weights(getattr(transformers, f"{kind}ForImageClassification")(config))
        model.save_pretrained(tmp_path / name)
    compare(tmp_path / name, lambda pictures: model(pictures).logits, name)


def unfolded(channels: int) -> list[int]:
    """Where torchvision's merging has each channel of mmpretrain's: both are run on numbered neighbours."""
    numbered = torch.arange(4.0 * channels).reshape(1, channels, 2, 2)
    theirs = nn.Unfold(kernel_size=2, stride=2)(numbered).flatten().long()
    x = numbered.permute(0, 2, 3, 1)
    parts = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
    ours = torch.cat(parts, dim=-1).flatten().long()
    return [int(place) for place in ours.argsort()[theirs]]


def openmmlab_names(state: State) -> State:
    """A torchvision Swin as mmpretrain 1.2 names and orders it."""
    found = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part != "features":
            found[{"norm": "backbone.norm3.", "head": "head.fc."}[part] + rest] = value
            continue
        number, _, rest = rest.partition(".")
        stage = (int(number) - 1) // 2
        if number == "0":
            name = f"patch_embed.{'projection' if rest[0] == '0' else 'norm'}.{rest[2:]}"
        elif int(number) % 2 == 0:
            name = f"stages.{stage}.downsample.{rest}"
            value = value[..., unfolded(value.shape[-1] // 4)]
        else:
            rest = rest.replace(".attn.", ".attn.w_msa.").replace(".mlp.0.", ".ffn.layers.0.0.")
            name = f"stages.{stage}.blocks.{rest.replace('.mlp.3.', '.ffn.layers.1.')}"
            value = value.reshape(49, 49) if name.endswith("_index") else value
        found[f"backbone.{name}"] = value
    return found


@pytest.mark.parametrize(("name", "variant"), [("swin_t", "swin_tiny"), ("swin_s", "swin_small")])
def test_openmmlab(name: str, variant: str, tmp_path: Path) -> None:
    """At 224 mmpretrain's and torchvision's functions are one; names and the order of merging are not."""
    library("torchvision")
    import torchvision.models

    model = random_weights(getattr(torchvision.models, name)())
    arch = {"swin_tiny": "tiny", "swin_small": "small"}[variant]
    config = f"model = dict(type='ImageClassifier', backbone=dict(type='SwinTransformer', arch='{arch}', img_size=224))"
    content = {"meta": {"mmengine_version": "0.10.7", "cfg": config}, "state_dict": openmmlab_names(model.state_dict())}
    torch.save(content, tmp_path / "epoch_300.pth")
    compare(tmp_path / "epoch_300.pth", model, variant)
