"""The libraries themselves: small random models, saved as their users do, loaded and exported, at two sizes each."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export import export
from slide_export.checkpoint.load import load_checkpoint
from tests.exporter.checkpoint.libraries import images, library, quiet, random_weights

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5  # of the output's standard deviation: sums in another order, in float32
ARTIFACT = 1e-4  # the same, of what ONNX Runtime computes
SMALL = {"embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
PYRAMID = {"hidden_sizes": [16, 32, 40, 64], "depths": [2, 1, 2, 1], "num_attention_heads": [1, 2, 5, 8]}


def same(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= TOLERANCE * theirs.std())


def compare(path: Path, theirs: Callable[[Tensor], Tensor], size: tuple[int, int], **options: Any) -> Any:
    """Load and export a checkpoint for a size; compare the module's and the artifact's logits with the library's."""
    model = load_checkpoint(path, input_size=size, **options)
    pictures = images(*size)
    with torch.inference_mode(), quiet():
        expected = theirs(pictures)
        assert same(model.module(pictures), expected)
    bundle = export(path, out=path.parent / "exported", input_size=size, overwrite=True, **options)
    session = onnxruntime.InferenceSession(bundle.path / bundle.manifest.artifact.path)
    found = torch.from_numpy(session.run(None, {"images": pictures.numpy()})[0])
    assert (found - expected).abs().max() <= ARTIFACT * expected.std()
    assert bundle.manifest.checkpoint.format == model.provenance.format
    return model


@pytest.mark.parametrize(
    ("window", "sizes"),
    [(7, [(224, 224), (256, 320)]), (3, [(64, 64), (96, 64)]), (2, [(96, 96), (128, 96)])],
)
def test_timm_swin_folder(window: int, sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    timm = library("timm")
    for number, size in enumerate(sizes):
        options = {**SMALL, "window_size": window, "img_size": size, "num_classes": 10}
        with quiet():
            model = random_weights(timm.create_model("swin_tiny_patch4_window7_224", **options))
            folder = tmp_path / str(number)
            timm.models._hub.save_for_hf(model, folder, safe_serialization=True)
        loaded = compare(folder, model, size)
        assert loaded.image_size == load_checkpoint(folder).image_size == size  # config.json tells it
        assert loaded.data.resized((224, 224)) == (248, 248)


def test_timm_swin_that_was_resized_scales_its_windows(tmp_path: Path) -> None:
    timm = library("timm")
    with quiet():
        model = random_weights(timm.create_model("swin_tiny_patch4_window7_224", **SMALL, num_classes=10))
        torch.save(model.state_dict(), tmp_path / "model.pth")
        model.set_input_size((224, 224))
        compare(tmp_path / "model.pth", model, (224, 224))
        model.set_input_size((256, 320))
        timm.models._hub.save_for_hf(model, tmp_path / "resized")
    loaded = compare(tmp_path / "resized", model, (256, 320))
    assert loaded.config.window == (8, 10)


@pytest.mark.parametrize("linear", [False, True])
def test_timm_pvt_v2(linear: bool, tmp_path: Path) -> None:
    timm = library("timm")
    options = {"embed_dims": (16, 32, 40, 64), "num_heads": (1, 2, 5, 8), "depths": (2, 1, 2, 1), "linear": linear}
    with quiet():
        model = random_weights(timm.create_model("pvt_v2_b0", **options, num_classes=10))
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "last.pth.tar")
    for size in ((64, 64), (96, 128)):
        compare(tmp_path / "last.pth.tar", model, size, values={"heads": "1,2,5,8"})


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "pvt_v2_b0"])
def test_timm_features_only(name: str, tmp_path: Path) -> None:
    timm = library("timm")
    with quiet():
        options = {"img_size": 224} if name.startswith("swin") else {}
        model = random_weights(timm.create_model(name, features_only=True, **options))
    torch.save(model.state_dict(), tmp_path / "features.pth")
    pictures = images(224, 224)
    loaded = load_checkpoint(tmp_path / "features.pth", input_size=(224, 224), features=True)
    with torch.inference_mode(), quiet():
        theirs = model(pictures)
        ours = loaded.module.features(pictures)
    for mine, stage in zip(ours, theirs, strict=True):
        assert same(mine, stage.permute(0, 3, 1, 2) if name.startswith("swin") else stage)


@pytest.mark.parametrize(
    ("name", "indices"), [("swin_tiny_patch4_window7_224", (0, 1, 2)), ("pvt_v2_b0", (0, 1, 2, 3))]
)
def test_timm_features_only_at_their_indices(name: str, indices: tuple[int, ...], tmp_path: Path) -> None:
    """A file that ends before the last stage is of a model that does."""
    timm = library("timm")
    with quiet():
        model = random_weights(timm.create_model(name, features_only=True, out_indices=indices))
    torch.save(model.state_dict(), tmp_path / "features.pth")
    loaded = load_checkpoint(tmp_path / "features.pth", features=True)
    with torch.inference_mode(), quiet():
        theirs = [stage.permute(0, 3, 1, 2) if name.startswith("swin") else stage for stage in model(images(224, 224))]
        ours = loaded.module.features(images(224, 224))
    assert all(same(mine, stage) for mine, stage in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("window", "sizes"), [((4, 8), [(128, 256), (96, 224)]), ((8, 4), [(256, 128), (200, 160)])])
def test_torchvision_swin_of_oblong_windows(
    window: tuple[int, int], sizes: list[tuple[int, int]], tmp_path: Path
) -> None:
    library("torchvision")
    from torchvision.models import swin_transformer

    model = random_weights(
        swin_transformer.SwinTransformer([4, 4], 16, [2, 2, 2, 2], [1, 2, 4, 8], list(window), num_classes=10)
    )
    torch.save(model.state_dict(), tmp_path / "swin.pth")
    for size in sizes:
        assert compare(tmp_path / "swin.pth", model, size).config.window == window


@pytest.mark.parametrize(("window", "sizes"), [(7, [(224, 224), (256, 288)]), (4, [(64, 64), (96, 128)])])
def test_torchvision_swin(window: int, sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    library("torchvision")
    from torchvision.models import swin_transformer

    model = random_weights(
        swin_transformer.SwinTransformer(
            [4, 4], 16, [2, 2, 2, 2], [1, 2, 4, 8], [window, window], num_classes=10, stochastic_depth_prob=0.0
        )
    )
    torch.save(model.state_dict(), tmp_path / "swin.pth")
    for size in sizes:
        compare(tmp_path / "swin.pth", model, size)


CONFIGURATIONS: dict[str, tuple[str, dict[str, Any], list[tuple[int, int]]]] = {
    "swin": ("Swin", {**SMALL, "window_size": 7, "image_size": 224}, [(224, 224), (256, 448)]),
    "swin one window": ("Swin", {**SMALL, "window_size": 2, "image_size": 64}, [(64, 64), (64, 128)]),
    "swin relu": ("Swin", {**SMALL, "window_size": 7, "hidden_act": "relu", "qkv_bias": False}, [(224, 224)]),
    "swin eps": ("Swin", {**SMALL, "window_size": 7, "layer_norm_eps": 1e-3}, [(224, 224)]),
    "pvt": ("Pvt", {**PYRAMID, "image_size": 64}, [(64, 64)]),  # 5.24 fails at any other input
    "pvt at 96": ("Pvt", {**PYRAMID, "image_size": 96}, [(96, 96)]),
    "pvt_v2": ("PvtV2", PYRAMID, [(64, 64), (96, 128)]),
    "pvt_v2 linear": ("PvtV2", {**PYRAMID, "linear_attention": True}, [(224, 224), (96, 128)]),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_transformers_folder(name: str, tmp_path: Path) -> None:
    transformers = library("transformers")
    kind, options, sizes = CONFIGURATIONS[name]
    labels = {"id2label": {number: f"class {number}" for number in range(10)}, "num_labels": 10}
    with quiet():
        config = getattr(transformers, f"{kind}Config")(**options, **labels, drop_path_rate=0.0)
        model: Any = random_weights(getattr(transformers, f"{kind}ForImageClassification")(config))
        model.save_pretrained(tmp_path / "saved")
    another = {} if kind == "PvtV2" else {"interpolate_pos_encoding": True} if kind == "Swin" else {}
    for size in sizes:
        fresh = copy.deepcopy(model)  # a Swin keeps for later inputs what a small one made of its windows
        loaded = compare(tmp_path / "saved", lambda pictures, fresh=fresh: fresh(pictures, **another).logits, size)
        assert loaded.labels[3] == "class 3"


def test_transformers_in_shards_in_memory_and_as_a_backbone(tmp_path: Path) -> None:
    transformers = library("transformers")
    with quiet():
        config = transformers.SwinConfig(**SMALL, window_size=7, num_labels=10, drop_path_rate=0.0)
        model: Any = random_weights(transformers.SwinForImageClassification(config))
        model.save_pretrained(tmp_path / "shards", max_shard_size="500KB")
        assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
        torch.save(model.state_dict(), tmp_path / "memory.pth")
        names = ["stage1", "stage2", "stage3", "stage4"]
        config = transformers.SwinConfig(**SMALL, window_size=7, out_features=names, drop_path_rate=0.0)
        backbone: Any = random_weights(transformers.SwinBackbone(config))
        backbone.save_pretrained(tmp_path / "backbone")
    for path in (tmp_path / "shards", tmp_path / "memory.pth"):
        compare(path, lambda pictures: model(pictures).logits, (224, 224))
    loaded = load_checkpoint(tmp_path / "backbone", features=True)
    pictures = images(224, 224)
    with torch.inference_mode(), quiet():
        theirs = backbone(pictures).feature_maps
        ours = loaded.module.features(pictures)
    assert all(same(mine, stage) for mine, stage in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("names", [["stage4"], ["stage2", "stage3"], ["stage1", "stage4"]])
@pytest.mark.parametrize("kind", ["Swin", "PvtV2"])
def test_transformers_backbone_hands_on_its_stages(kind: str, names: list[str], tmp_path: Path) -> None:
    transformers = library("transformers")
    options: dict[str, Any] = {**SMALL, "window_size": 7} if kind == "Swin" else PYRAMID
    with quiet():
        config = getattr(transformers, f"{kind}Config")(**options, out_features=names, drop_path_rate=0.0)
        backbone: Any = random_weights(getattr(transformers, f"{kind}Backbone")(config))
        backbone.save_pretrained(tmp_path / "folder")
        torch.save(backbone.state_dict(), tmp_path / "memory.pth")
    pictures = images(224, 224)
    for path in [tmp_path / "folder", *([tmp_path / "memory.pth"] if kind == "Swin" else [])]:
        loaded = load_checkpoint(path, features=True)
        with torch.inference_mode(), quiet():
            theirs, ours = backbone(pictures).feature_maps, loaded.module.features(pictures)
        assert all(same(mine, stage) for mine, stage in zip(ours, theirs, strict=True))


def test_timm_inside_transformers(tmp_path: Path) -> None:
    library("timm")
    transformers = library("transformers")
    with quiet():
        config = transformers.TimmWrapperConfig(
            architecture="swin_tiny_patch4_window7_224", model_args={**SMALL, "window_size": 7}, num_labels=10
        )
        model: Any = random_weights(transformers.TimmWrapperForImageClassification(config))
        model.save_pretrained(tmp_path / "wrapped")
    loaded = compare(tmp_path / "wrapped", lambda pictures: model(pictures).logits, (224, 224))
    assert loaded.provenance.prefix == "timm_model."


WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "Lightning": lambda state: {
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {**{f"net.{key}": value for key, value in state.items()}, "criterion.weight": torch.ones(10)},
        "hyper_parameters": {"lr": 0.1},
        "loops": {},
    },
    "compiled, distributed": lambda state: {
        "model": {f"module._orig_mod.{key}": value for key, value in state.items()},
        "epoch": 3,
    },
    "averaged": lambda state: {
        "n_averaged": torch.tensor(5),
        **{f"module.{key}": value for key, value in state.items()},
    },
    "another name": lambda state: {"weights": {f"my_swin.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_torchvision_in_the_wrappers_of_training_codes(name: str, tmp_path: Path) -> None:
    """At inputs that neither windows nor patches divide."""
    library("torchvision")
    from torchvision.models import swin_transformer

    model = random_weights(
        swin_transformer.SwinTransformer([4, 4], 16, [2, 2, 2, 2], [1, 2, 4, 8], [7, 7], num_classes=10)
    )
    torch.save(WRAPPED[name](dict(model.state_dict())), tmp_path / "last.ckpt")
    for size in ((256, 288), (230, 227)):
        compare(tmp_path / "last.ckpt", model, size)


@pytest.mark.parametrize("name", ["twins_pcpvt_small", "twins_svt_small"])
def test_timm_twins_folder(name: str, tmp_path: Path) -> None:
    timm = library("timm")
    with quiet():
        model = random_weights(timm.create_model(name, depths=(1, 1, 2, 1), num_classes=10))
        timm.models._hub.save_for_hf(model, tmp_path / "saved", model_args={"depths": [1, 1, 2, 1]})
    for size in ((224, 224), (256, 320)):
        loaded = compare(tmp_path / "saved", model, size)
        assert loaded.data.resized((224, 224)) == (248, 248)


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    library("torchvision")
    from torchvision.models import swin_transformer

    model = random_weights(swin_transformer.SwinTransformer([4, 4], 16, [1, 2], [1, 2], [4, 4], num_classes=10))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, tmp_path / "swin.bin")
    for size in ((64, 64), (96, 72)):
        compare(tmp_path / "swin.bin", model, size)
