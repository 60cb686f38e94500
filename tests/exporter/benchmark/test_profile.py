"""Sums of a profile by block and by kind."""

import pytest

from slide_export.backends import registry as backends
from slide_export.benchmark import profile
from slide_export.bundle import store as bundles
from slide_export.bundle.store import Bundle
from slide_export.core.measurement import ModuleTime
from tests.exporter.pages.synthetic import run, subject


def test_blocks_and_kinds_sum_to_all() -> None:
    names = ["patch_embed.proj", "layers.0.blocks.0.attn.qkv", "layers.0.blocks.0.mlp.fc1", "layers.0.downsample.norm"]
    found = [ModuleTime(name, "x", "gemm" if place < 3 else "other", 2.0**place) for place, name in enumerate(names)]
    assert profile.by_block(found) == {
        "patch_embed": {"gemm": 1.0},
        "layers.0.blocks.0": {"gemm": 6.0},
        "layers.0.downsample": {"other": 8.0},
    }
    assert profile.by_kind(found) == {"gemm": 7.0, "convolution": 0, "softmax": 0, "layout": 0, "other": 8.0}


@pytest.mark.parametrize(
    ("module", "operator", "kind", "slide", "plain"),
    [
        ("layers.0.blocks.0.attn.qkv", "FullyConnected", "gemm", "products", "products"),
        ("layers.0.blocks.0.attn", "GroupConvolution", "convolution", "attention's taps", "products"),
        ("layers.0.blocks.0.attn", "Softmax", "softmax", "attention's taps", "other"),
        ("layers.0.blocks.0.attn", "Transpose", "layout", "layout", "layout"),
        ("layers.0.blocks.0.attn.qkv", "Add", "other", "other", "other"),
        ("stage1.0.attns.1.keys", "Conv", "convolution", "attention's taps", "products"),
        ("layers.0.blocks.0.norm1", "ReduceMean", "other", "normalisation", "normalisation"),
        ("layers.0.blocks.0", "RMS", "other", "normalisation", "normalisation"),
        ("layers.0.blocks.0", "LayerNormalization", "other", "normalisation", "normalisation"),
        ("layers.0.blocks.0", "RMSomething", "other", "other", "other"),
        ("layers.0.blocks.0.mlp.act", "Gelu", "other", "other", "other"),
    ],
)
def test_time_goes_to_what_it_is_for(module: str, operator: str, kind: str, slide: str, plain: str) -> None:
    lines = (ModuleTime(module, operator, kind, 2.0),)
    for form, group in (("taps", slide), ("", plain)):
        found = profile.by_group(run(subject("a", lowering=form), 1.0, profile=lines))
        assert {name for name, ms in found.items() if ms} == {group}
        assert sum(found.values()) == 2.0


def test_the_attention_of_each_block_is_in_it(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact
    feeds = {name: images[:1] for name, images in bundles.golden(bundle).feeds.items()}
    backend = backends.load(bundle.manifest.target)
    found = backend.profile(bundle.path / artifact.path, artifact.settings, feeds, 1)
    blocks = profile.by_block(found)
    slides = [f"layers.{stage}.blocks.{block}" for stage, depth in ((0, 1), (1, 2)) for block in range(depth)]
    assert all(blocks[block]["convolution"] > 0 for block in slides)
    assert not any(blocks[f"layers.2.blocks.{block}"].get("convolution") for block in range(2))  # windows have none
