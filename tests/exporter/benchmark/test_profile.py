"""Names, kinds and sums of a profile; on small bundles, both runtimes' profiles speak of the model's own modules."""

from pathlib import Path

import numpy as np
import pytest

from slide_export.backends import registry as backends
from slide_export.benchmark import profile
from slide_export.bundle import store as bundles
from slide_export.bundle.store import Bundle
from slide_export.core.measurement import KINDS, Executed, ModuleTime, Product
from slide_export.core.model import Model


def kind(operator: str, product: Product | None = None, module: str = "layers.0.blocks.0.mlp.fc1") -> str:
    return profile.kind(Executed(module, operator, product, (1.0,)), module)


@pytest.mark.parametrize(
    ("module", "product", "expected"),
    [
        ("patch_embed.proj", "dense", "gemm"),
        ("layers.0.blocks.0.attn.qkv", "dense", "gemm"),
        ("stage1.0.attns.1.proj", "dense", "gemm"),
        ("layers.0.blocks.0.attn", "dense", "convolution"),  # a form's own product: the taps of slide attention
        ("layers.0.blocks.0.attn.mix", "dense", "convolution"),
        ("layers.0.blocks.0.attn", "spatial", "convolution"),
        ("layers.2.blocks.0.attn", "activations", "other"),
    ],
)
def test_only_products_of_linear_and_patch_layers_are_gemm(module: str, product: Product, expected: str) -> None:
    assert kind("whatever", product, module) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("Softmax", "softmax"),
        ("softmax", "softmax"),
        ("ReorderOutput", "layout"),
        ("VariadicSplit", "layout"),
        ("slice_by_index", "layout"),
        ("LayerNormalization", "other"),
        ("ReshapeMagic", "other"),
    ],
)
def test_the_rest_goes_by_its_name(operator: str, expected: str) -> None:
    assert kind(operator) == expected


def test_what_has_no_name_belongs_to_what_comes_next() -> None:
    times = [("a", (1.0, 9.0, 2.0)), (None, (3.0,)), (None, (4.0,)), ("b", (5.0,)), (None, (6.0,))]
    found = profile.lines([Executed(module, "Add", None, ms) for module, ms in times])
    assert [(line.module, line.ms) for line in found] == [("a", 2.0), ("b", 3.0), ("b", 4.0), ("b", 5.0), ("", 6.0)]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (["/layers.0/blocks.1/attn/qkv/Gemm"], "layers.0.blocks.1.attn.qkv"),
        (["/a/b/Add", "/a/c/Mul", "Gelu_7"], "a"),
        (["/ReduceMean"], ""),
        (["Multiply_3"], None),
        ([], None),
    ],
)
def test_a_fused_operation_is_in_the_module_that_all_share(nodes: list[str], expected: str | None) -> None:
    assert profile.shared_module(nodes) == expected


def test_blocks_and_kinds_sum_to_all() -> None:
    names = ["patch_embed.proj", "layers.0.blocks.0.attn.qkv", "layers.0.blocks.0.mlp.fc1", "layers.0.downsample.norm"]
    found = [ModuleTime(name, "x", "gemm" if place < 3 else "other", 2.0**place) for place, name in enumerate(names)]
    assert profile.by_block(found) == {
        "patch_embed": {"gemm": 1.0},
        "layers.0.blocks.0": {"gemm": 6.0},
        "layers.0.downsample": {"other": 8.0},
    }
    assert profile.by_kind(found) == {"gemm": 7.0, "convolution": 0, "softmax": 0, "layout": 0, "other": 8.0}


def test_both_runtimes_speak_of_our_modules(bundle: Bundle, model: Model) -> None:
    artifact, target = bundle.manifest["artifact"], bundle.manifest["target"]
    feeds = {name: images[:1] for name, images in bundles.golden(bundle).feeds.items()}
    settings = {**artifact["settings"], "threads": 1}
    found = backends.load(target).profile(bundle.path / artifact["path"], settings, feeds, 3)
    modules = {name for name, _ in model.module.named_modules()}
    outside = {line.module for line in found if ".attn." not in line.module}  # a form of attention has parts of its own
    assert outside <= modules
    assert {line.module.partition(".attn.")[0] for line in found} <= modules
    gemms = {line.module for line in found if line.kind == "gemm"}
    linear = {name for name, module in model.module.named_modules() if type(module).__name__ == "Linear"}
    assert gemms == linear | {"patch_embed.proj"}
    assert all(line.ms >= 0 and line.kind in KINDS for line in found)
    assert sum(line.ms for line in found) == pytest.approx(sum(profile.by_kind(found).values()))
    assert sum(sum(kinds.values()) for kinds in profile.by_block(found).values()) == pytest.approx(
        sum(line.ms for line in found)
    )


def test_the_attention_of_each_block_is_in_it(bundle: Bundle) -> None:
    artifact = bundle.manifest["artifact"]
    feeds = {name: images[:1] for name, images in bundles.golden(bundle).feeds.items()}
    backend = backends.load(bundle.manifest["target"])
    found = backend.profile(bundle.path / artifact["path"], artifact["settings"], feeds, 1)
    blocks = profile.by_block(found)
    slides = [f"layers.{stage}.blocks.{block}" for stage, depth in ((0, 1), (1, 2)) for block in range(depth)]
    assert all(blocks[block]["convolution"] > 0 for block in slides)
    assert not any(blocks[f"layers.2.blocks.{block}"].get("convolution") for block in range(2))  # windows have none


def test_scratch_files_of_the_profiler_are_gone(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = bundle.manifest["artifact"]
    feeds = {name: np.asarray(images[:1]) for name, images in bundles.golden(bundle).feeds.items()}
    backends.load(bundle.manifest["target"]).profile(bundle.path / artifact["path"], artifact["settings"], feeds, 1)
    assert not list(tmp_path.iterdir())
