"""The saved package is the model, keeps the Neural Engine's rules, and is the same bytes every time."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("coremltools", reason="coremltools is not installed")

from slide_export.backends import coreml as backend
from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.bundle.store import Bundle
from slide_export.calibration.images import bundled
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.errors import BundleError, LoweringError, RequestError
from slide_export.core.model import InferenceModel, Model
from slide_export.core.precision import FP32, precision_named
from slide_export.core.request import ExportRequest
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from slide_export.mil import Package
from slide_export.models import window_attention
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.proof import parity
from slide_export.workflows import export as pipeline  # after the skip
from tests.conftest import randomise, reference_of

SHIFTED = SwinConfig(  # one slide block; two window blocks, of which the second is shifted
    embed_dim=8, depths=(1, 2), heads=(1, 2), window=(4, 4), image_size=(64, 64), num_classes=5, slide_stages=1
)
LABELS = ("zero", "one", "two", "three", "four")
LOGITS = ModelIO()
PICTURES = ModelIO(embed_preprocessing=True)
FP16_SQNR_DB = 45.0  # of a small model on a rough path: 11 bits are 66 dB for one product, less for a chain of them
SAME_WEIGHTS = 1e-5  # float32 sums in another order, of the largest output
VERSIONS = {"iOS16": 7, "iOS17": 8, "iOS18": 9, "iOS26": 10}  # specification versions, coremltools/__init__.py


def lower(model: Model, directory: Path, precision: str = "fp32", *, to: ModelIO = LOGITS, **options: str) -> Artifact:
    directory.mkdir(parents=True, exist_ok=True)
    order = LoweringOptions(precision_named(precision), to, backends.complete_options("coreml", options))
    return backend.lower(in_form(choose(fuse(model), "grouped"), to), directory, order)


def description(artifact: Artifact) -> Any:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((artifact.path / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes())
    return spec.description


def files(package: Path) -> Mapping[str, bytes]:
    return {str(file.relative_to(package)): file.read_bytes() for file in package.rglob("*") if file.is_file()}


def answers(artifact: Artifact, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (output,) = backend.Session(artifact.path, artifact.settings).run({"images": images}).values()
    return np.asarray(output, np.float64)


def expected(model: Model, pictures: np.ndarray[Any, Any], *, softmax: bool = False) -> np.ndarray[Any, Any]:
    """The trained model in float64 on uint8 pictures, normalised channel by channel."""
    images = (pictures / 255 - np.array(model.data.mean)) / np.array(model.data.std)
    module = SwinTransformer(model.config).double().eval()
    module.load_state_dict(model.module.state_dict())
    with torch.no_grad():
        logits = module(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    return np.asarray(logits.softmax(-1) if softmax else logits)


def relative(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    assert found.shape == exact.shape
    return float(np.abs(found - exact).max() / np.abs(exact).max())


@pytest.fixture(scope="module")
def shifted(model: Model) -> Model:
    torch.manual_seed(1)
    return replace(model, module=randomise(SwinTransformer(SHIFTED)), config=SHIFTED)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(shifted: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return lower(shifted, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def classifier(shifted: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    interface = ModelIO(embed_preprocessing=True, softmax=True, labels=LABELS)
    return lower(shifted, tmp_path_factory.mktemp("classifier"), to=interface, input="image", deployment="iOS17")


@pytest.fixture(scope="module", params=("fp32", "fp16"))
def bundle(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp(request.param)
    return pipeline.export(ExportRequest(checkpoint, target="coreml", precision=request.param, out=out))


def bundled_artifact(bundle: Bundle) -> tuple[Path, Mapping[str, Any]]:
    return bundle.path / bundle.manifest.artifact.path, bundle.manifest.artifact.settings


def test_the_bundle_is_proved_by_the_evaluator(bundle: Bundle) -> None:
    proof = bundle.manifest.parity
    mode = {"fp32": "float32", "fp16": "typed"}[bundle.manifest.precision.name]
    assert proof.passed
    assert proof.evaluator.startswith("evaluated on") and proof.evaluator.endswith(f"({mode})")
    assert tuple(proof.batch_sizes) == (1, 2, 3, 8)


def test_it_stores_and_computes_what_was_asked_for(bundle: Bundle) -> None:
    census = backend.dtype_stats(*bundled_artifact(bundle))
    kind = {"fp32": "float32", "fp16": "float16"}[bundle.manifest.precision.name]
    weights = bundled_artifact(bundle)[0] / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    assert set(census.stored) == set(census.computed) == {kind}
    # 7 convolutions; 6 blocks of 4 linear layers, 3 reductions and the head; 2 products in each of 3 window blocks.
    assert census.computed[kind] == 7 + (6 * 4 + 3 + 1) + 3 * 2
    assert 0.9 * weights.stat().st_size < census.stored[kind]  # headers and small constants are the rest


def test_eight_bit_weights_are_proved_and_counted(checkpoint: Path, tmp_path: Path) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, target="coreml", precision="w8", out=tmp_path, image_count=2))
    stored = backend.dtype_stats(*bundled_artifact(bundle)).stored
    assert bundle.manifest.parity.passed
    assert stored["int8"] > 0.6 * sum(stored.values())  # of a model this small; biases and norms are the rest


def test_fp16_keeps_the_signal(model: Model, bundle: Bundle) -> None:
    if bundle.manifest.precision.name == "fp16":
        assert bundle.manifest.parity.outputs[0].sqnr_db >= FP16_SQNR_DB


def test_a_changed_weight_fails_parity(model: Model, bundle: Bundle, tmp_path: Path) -> None:
    path, settings = bundled_artifact(bundle)
    precision = bundle.manifest.precision.name
    broken = shutil.copytree(path, tmp_path / "model.mlpackage")
    kind = {"fp32": np.float32, "fp16": np.float16}[precision]
    data = np.memmap(broken / "Data" / "com.apple.CoreML" / "weights" / "weight.bin", kind, "r+", offset=128)
    data[0] += 1  # of the patch embedding's first kernel: the entry after the header and its own metadata
    data.flush()
    reference = reference_of(model, bundled().spread(2), ModelIO(), precision)
    accepted = parity.accepted(precision_named(precision))
    for place, passed in ((path, True), (broken, False)):
        found = parity.check(reference, backend.Session(place, settings), 2, decision_axis=1, accepted=accepted)
        assert found.passed is passed


def test_the_same_model_gives_the_same_bytes(shifted: Model, plain: Artifact, tmp_path: Path) -> None:
    assert files(lower(shifted, tmp_path).path) == files(plain.path)


def test_inputs_and_outputs_are_float32_by_declaration(bundle: Bundle) -> None:
    package = Package.read(bundled_artifact(bundle)[0])
    assert [(item.name, item.element) for item in package.inputs] == [("images", "fp32")]
    assert [(item.name, item.element) for item in package.outputs] == [("logits", "fp32")]
    assert package.inputs[0].choices == tuple((batch, 3, 64, 64) for batch in (1, 2, 3, 8))


def test_a_shifted_window_has_no_gather_and_slide_attention_rank_4(shifted: Model, plain: Artifact) -> None:
    modules = json.loads(description(plain).metadata.userDefined["modules"])
    owner = {operation: module for module, operations in modules.items() for operation in operations}
    operations = [item for item in Package.read(plain.path).operations() if not item.is_constant]
    ranks = {item.name: max(len(output.type.shape) for output in item.outputs) for item in operations}
    slides = [item for item in operations if owner[item.name].startswith("layers.0.blocks.0.attn")]
    assert not [item for item in operations if item.type.startswith("gather")]
    assert {"conv", "mul", "softmax"} <= {item.type for item in slides}
    assert max(ranks[item.name] for item in slides) == 4
    assert max(ranks.values()) == 5  # the mask of the shifted block has one more axis than its windows
    assert any(module == "layers.1.blocks.1.attn" for module in owner.values())


def test_a_roll_is_refused_as_the_gather_it_becomes(
    shifted: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gathering(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
        return torch.roll(x, (-rows, -cols), (1, 2)) if rows or cols else x

    monkeypatch.setattr(window_attention, "roll", gathering)
    with pytest.raises(LoweringError, match=r"without gathers, found gather.* in layers\.1\.blocks\.1"):
        lower(shifted, tmp_path)


def test_slide_attention_of_rank_5_is_refused(shifted: Model, tmp_path: Path) -> None:
    fused = fuse(shifted)
    order = LoweringOptions(FP32, ModelIO(), backends.complete_options("coreml", {}))
    with pytest.raises(LoweringError, match=r"rank 4 or less, .* in layers\.0\.blocks\.0\.attn makes one of 5"):
        backend.lower(in_form(InferenceModel(fused.module, fused, "none"), ModelIO()), tmp_path, order)


def test_what_coremltools_cannot_convert_is_one_sentence(shifted: Model, tmp_path: Path) -> None:
    class Strided(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.unfold(3, 2, 1).sum(dim=(1, 2, 3))

    order = LoweringOptions(FP32, ModelIO(), backends.complete_options("coreml", {}))
    with pytest.raises(LoweringError, match=r"coremltools cannot convert the model: .*unfold"):
        backend.lower(in_form(InferenceModel(Strided(), fuse(shifted), "none"), ModelIO()), tmp_path, order)


@pytest.mark.parametrize("deployment", VERSIONS)
def test_every_deployment_target_is_the_model(
    shifted: Model, pictures: np.ndarray[Any, Any], tmp_path: Path, deployment: str
) -> None:
    artifact = lower(shifted, tmp_path, to=replace(PICTURES, batch=2), deployment=deployment)
    package = Package.read(artifact.path)
    assert package.program.opset == f"CoreML{VERSIONS[deployment] - 1}"
    assert package.inputs[0].shape == artifact.inputs[0].shape == (2, 64, 64, 3)
    assert relative(answers(artifact, pictures[:2]), expected(shifted, pictures[:2])) < SAME_WEIGHTS


def test_a_picture_is_normalised_channel_by_channel(
    shifted: Model, pictures: np.ndarray[Any, Any], classifier: Artifact
) -> None:
    (image,) = Package.read(classifier.path).inputs
    assert (image.kind, image.color, image.shape) == ("image", "rgb", (1, 3, 64, 64))
    assert classifier.inputs[0].shape == ("batch", 64, 64, 3)
    assert relative(answers(classifier, pictures), expected(shifted, pictures, softmax=True)) < SAME_WEIGHTS


def test_labels_and_preprocessing_stand_in_the_package(plain: Artifact, classifier: Artifact) -> None:
    stated = description(classifier)
    assert stated.predictedFeatureName == "classLabel"
    assert stated.predictedProbabilitiesName == "probabilities"
    assert [output.name for output in stated.output] == ["classLabel", "probabilities"]
    assert json.loads(stated.metadata.userDefined["labels"]) == list(LABELS)
    assert json.loads(stated.metadata.userDefined["mean"]) == pytest.approx([0.485, 0.456, 0.406])
    assert stated.metadata.userDefined["preprocessing"] == "embedded"
    assert "labels" not in description(plain).metadata.userDefined
    assert not [key for key in stated.metadata.userDefined if "date" in key]


def test_any_number_of_images_goes_through_the_permitted_batches(shifted: Model, tmp_path: Path) -> None:
    artifact = lower(shifted, tmp_path, batches="1,4")
    images = np.random.default_rng(0).standard_normal((6, 3, 64, 64)).astype(np.float32)
    alone = np.concatenate([answers(artifact, images[index : index + 1]) for index in range(6)])
    assert Package.read(artifact.path).inputs[0].choices == ((1, 3, 64, 64), (4, 3, 64, 64))
    assert relative(answers(artifact, images), alone) < SAME_WEIGHTS


def test_stage_maps_are_outputs(model: Model, tmp_path: Path) -> None:
    interface = ModelIO(batch=1, features=True)
    artifact = lower(model, tmp_path, to=interface)
    reference = reference_of(model, bundled().spread(1), interface)
    assert [(output.name, output.shape) for output in artifact.outputs] == [
        ("stage1", (1, 16, 16, 16)),
        ("stage2", (1, 32, 8, 8)),
        ("stage3", (1, 64, 4, 4)),
        ("stage4", (1, 128, 2, 2)),
    ]
    assert parity.check(reference, backend.Session(artifact.path, artifact.settings), 1, decision_axis=None).passed


@pytest.mark.parametrize(
    ("interface", "options", "message"),
    [
        (ModelIO(), {"input": "image"}, "input=image with embedded preprocessing"),
        (replace(PICTURES, batch=4), {"input": "image"}, "batch 1 or none, found 4"),
        (ModelIO(), {"batches": "2,3"}, "with 1 among them and none above 4096; found '2,3'"),
        (ModelIO(), {"batches": "1;2"}, "batches such as 1,2,3,8"),
        (replace(PICTURES, softmax=True, labels=("a",) * 5), {"input": "image"}, "found 'a' twice"),
    ],
)
def test_contradictions_are_refused(
    shifted: Model, tmp_path: Path, interface: ModelIO, options: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        lower(shifted, tmp_path, to=interface, **options)


def test_wrong_feeds_are_refused(plain: Artifact) -> None:
    session = backend.Session(plain.path, plain.settings)
    with pytest.raises(RequestError, match="expected the input images of float32"):
        session.run({"images": np.zeros((1, 3, 64, 64), np.uint8)})
    with pytest.raises(RequestError, match="expected the input images"):
        session.run({"pictures": np.zeros((1, 3, 64, 64), np.float32)})
    with pytest.raises(BundleError, match="was expected, found"):
        session.run({"images": np.zeros((1, 3, 32, 32), np.float32)})


def test_a_fixed_batch_takes_only_itself(shifted: Model, tmp_path: Path) -> None:
    artifact = lower(shifted, tmp_path, to=ModelIO(batch=2))
    with pytest.raises(RequestError, match="expected a batch of 2, found 3 images"):
        answers(artifact, np.zeros((3, 3, 64, 64), np.float32))


def test_a_damaged_package_is_refused(plain: Artifact, tmp_path: Path) -> None:
    broken = shutil.copytree(plain.path, tmp_path / "model.mlpackage")
    (broken / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(b"no protobuf")
    with pytest.raises(BundleError, match="expected an ML Program"):
        backend.Session(broken, plain.settings)
    with pytest.raises(BundleError, match="expected an ML Program"):
        backend.dtype_stats(broken, plain.settings)
