"""Sums of a profile by block and by kind."""

from slide_export.backends import registry as backends
from slide_export.benchmark import profile
from slide_export.bundle import store as bundles
from slide_export.bundle.store import Bundle
from slide_export.core.measurement import ModuleTime


def test_blocks_and_kinds_sum_to_all() -> None:
    names = ["patch_embed.proj", "layers.0.blocks.0.attn.qkv", "layers.0.blocks.0.mlp.fc1", "layers.0.downsample.norm"]
    found = [ModuleTime(name, "x", "gemm" if place < 3 else "other", 2.0**place) for place, name in enumerate(names)]
    assert profile.by_block(found) == {
        "patch_embed": {"gemm": 1.0},
        "layers.0.blocks.0": {"gemm": 6.0},
        "layers.0.downsample": {"other": 8.0},
    }
    assert profile.by_kind(found) == {"gemm": 7.0, "convolution": 0, "softmax": 0, "layout": 0, "other": 8.0}


def test_the_attention_of_each_block_is_in_it(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact
    feeds = {name: images[:1] for name, images in bundles.golden(bundle).feeds.items()}
    backend = backends.load(bundle.manifest.target)
    found = backend.profile(bundle.path / artifact.path, artifact.settings, feeds, 1)
    blocks = profile.by_block(found)
    slides = [f"layers.{stage}.blocks.{block}" for stage, depth in ((0, 1), (1, 2)) for block in range(depth)]
    assert all(blocks[block]["convolution"] > 0 for block in slides)
    assert not any(blocks[f"layers.2.blocks.{block}"].get("convolution") for block in range(2))  # windows have none
