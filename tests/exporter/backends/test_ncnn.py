"""The saved network is the model, in the precision asked for, and what would not be is refused by name."""

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ncnn", reason="ncnn is not installed")
if importlib.util.find_spec("pnnx") is None:  # not imported: nothing here needs to
    pytest.skip("pnnx is not installed", allow_module_level=True)

from slide_export.backends import ncnn as backend
from slide_export.backends.interface import LoweringOptions
from slide_export.backends.ncnn import artifact as lowering
from slide_export.backends.ncnn import network, weights
from slide_export.backends.ncnn.network import Layer
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.errors import BundleError, LoweringError, RequestError
from slide_export.core.lint import Finding
from slide_export.core.model import Model
from slide_export.core.precision import FP32, W16, precision_named
from slide_export.core.request import ExportRequest
from slide_export.core.typed_json import FieldError
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel, in_form
from slide_export.models import FAMILIES
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.proof import stored as proof_stored
from slide_export.proof.precision import satisfies, share
from slide_export.workflows.resolve import resolve
from tests.conftest import randomise

SHIFTED = SwinConfig(  # one slide block; two window blocks, of which the second is shifted: rank 5 with the batch
    embed_dim=8, depths=(1, 2), heads=(1, 2), window=(4, 4), image_size=(64, 64), num_classes=5, slide_stages=1
)
FP32_ERROR = 5e-6  # of the largest output: float32 sums in another order
HALF_ERROR = 5e-3  # weights of 11 bits, of a model that is not trained
HALF_SHARE = 0.9  # of a narrow model's bytes; its biases and norms, float32 in every precision, are the rest
FP16_DEFAULT_ERROR = 5e-5  # ten times what float32 does: what goes from layer to layer has 11 bits


LOGITS = ModelIO()


def served(model: Model, io: ModelIO = LOGITS) -> ServedModel:
    return in_form(choose(fuse(model), "shifts"), io)


def lower(source: ServedModel, directory: Path, precision: str = "fp32", threads: str = "1") -> Artifact:
    directory.mkdir(parents=True, exist_ok=True)
    return backend.lower(
        source, directory, LoweringOptions(precision_named(precision), source.io, {"threads": threads})
    )


def exact(model: Model, source: ServedModel, feeds: dict[str, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """The trained model's outputs in float64, apart from every form."""
    trained = replace(source, module=model.module, form="").in_float64()
    with torch.no_grad():
        return tuple(output.numpy() for output in trained(*source.tensors(feeds, torch.float64)))


def error(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def shifted(model: Model) -> Model:
    torch.manual_seed(1)
    return replace(model, module=randomise(SwinTransformer(SHIFTED)), config=SHIFTED)


@pytest.fixture(scope="module")
def plain(shifted: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return lower(served(shifted), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def half(shifted: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return lower(served(shifted), tmp_path_factory.mktemp("half"), "w16")


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    return {"images": np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)}


@pytest.fixture
def copy(plain: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain.path.parent, tmp_path / "copy")) / plain.path.name


def answers(artifact: Artifact, feeds: dict[str, Any], **settings: Any) -> np.ndarray[Any, Any]:
    return backend.Session(artifact.path, {**artifact.settings, **settings}).run(feeds)["logits"]


def test_the_saved_network_is_the_model(shifted: Model, plain: Artifact, images: dict[str, Any]) -> None:
    (expected,) = exact(shifted, served(shifted), images)
    assert error(answers(plain, images), expected) < FP32_ERROR
    assert plain.outputs[0].shape == ("batch", 5)


def test_half_weights_cost_what_their_rounding_costs(shifted: Model, half: Artifact, images: dict[str, Any]) -> None:
    (expected,) = exact(shifted, served(shifted), images)
    assert FP32_ERROR < error(answers(half, images), expected) < HALF_ERROR


def test_the_default_of_the_runtime_is_not_what_was_proved(
    shifted: Model, plain: Artifact, images: dict[str, Any]
) -> None:
    (expected,) = exact(shifted, served(shifted), images)
    told = backend.plain_load(plain.path, plain.settings, ("float32",))
    assert told.computed == ("float16",)
    assert not told.same
    assert told.options == {
        "net.opt.use_fp16_packed": "false",
        "net.opt.use_fp16_storage": "false",
        "net.opt.use_fp16_arithmetic": "false",
    }
    assert error(answers(plain, images, **told.settings), expected) > FP16_DEFAULT_ERROR


def test_an_altered_weight_is_seen(shifted: Model, plain: Artifact, copy: Path, images: dict[str, Any]) -> None:
    (expected,) = exact(shifted, served(shifted), images)
    layers, data = network.read(copy), bytearray(weights.load(copy))
    largest = max(weights.read(layers, bytes(data)), key=lambda tensor: float(np.abs(tensor.values).max()))
    at = bytes(data).index(largest.values.tobytes()) + 4 * int(np.abs(largest.values).argmax())
    data[at : at + 4] = np.float32(1.02 * np.abs(largest.values).max()).tobytes()
    copy.with_suffix(".bin").write_bytes(bytes(data))
    assert error(answers(replace(plain, path=copy), images), expected) > FP32_ERROR


def test_two_exports_are_the_same_bytes(shifted: Model, plain: Artifact, tmp_path: Path) -> None:
    again = lower(served(shifted), tmp_path)
    for file in (plain.path, *backend.companions(plain.path)):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()
    assert again.settings == plain.settings


def test_pictures_and_several_outputs(model: Model, tmp_path: Path) -> None:
    source = served(model, ModelIO(batch=1, embed_preprocessing=True, features=True))
    made = lower(source, tmp_path, threads="2")
    feeds = {"images": np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)}
    found = backend.Session(made.path, made.settings).run(feeds)
    assert list(found) == list(source.output_names)
    for value, expected in zip(found.values(), exact(model, source, feeds), strict=True):
        assert error(value, expected) < FP32_ERROR
    assert (made.inputs[0].dtype, made.inputs[0].shape) == ("uint8", (1, 64, 64, 3))
    assert made.settings["threads"] == 2
    with pytest.raises(RequestError, match="expected the input images of uint8"):
        backend.Session(made.path, made.settings).run({"images": feeds["images"].astype(np.float32)})


def test_no_shape_is_computed_and_no_split_is_left_over(plain: Artifact) -> None:
    layers = network.read(plain.path)
    taken = {name for layer in layers for name in layer.inputs}
    assert not any(layer.type == "Reshape" and 6 in layer.parameters for layer in layers)
    assert all(set(layer.outputs) <= taken for layer in layers if layer.type == "Split")
    assert backend.lint_artifact(plain.path) == ()
    assert backend.is_artifact(plain.path)


def test_what_is_stored_and_computed_is_counted(plain: Artifact, half: Artifact) -> None:
    full, halved = (backend.dtype_stats(made.path, made.settings) for made in (plain, half))
    assert full.stored.keys() == {"float32"} == full.computed.keys()
    assert satisfies(full, FP32)
    assert share(halved.stored, "float16") > HALF_SHARE
    assert halved.computed.keys() == {"float32"}
    assert not satisfies(full, W16)


def test_half_storage_in_a_float32_bundle_is_refused(half: Artifact) -> None:
    assert not satisfies(backend.dtype_stats(half.path, half.settings), FP32)


@pytest.mark.parametrize("name", ["use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"])
def test_a_setting_that_rounds_is_refused_and_counted(plain: Artifact, name: str) -> None:
    rounding = {**plain.settings, "options": {**plain.settings["options"], name: True}}
    backend.refuse_settings(plain.settings, None)
    with pytest.raises(FieldError, match=name):
        backend.refuse_settings(rounding, None)
    assert not satisfies(backend.dtype_stats(plain.path, rounding), FP32)


def test_each_stored_value_is_the_float_builds_rounded_once(plain: Artifact, half: Artifact, copy: Path) -> None:
    made = list(backend.stored(half.path, half.settings))
    report = proof_stored.compare(backend.stored(plain.path, plain.settings), made)
    assert report.faults == ()
    assert report.tensors == len(made) == len({constant.name for constant in made})
    data = bytearray(half.path.with_suffix(".bin").read_bytes())
    data[-8:] = np.array([1.0, 1.0], np.float32).tobytes()  # the head's last biases
    shutil.copy(half.path, copy)
    copy.with_suffix(".bin").write_bytes(bytes(data))
    found = proof_stored.compare(backend.stored(plain.path, plain.settings), backend.stored(copy, half.settings))
    assert [fault.name for fault in found.faults] == ["head/InnerProduct.bias"]


@pytest.mark.parametrize("name", ["Tensor.reshape", "Softmaxx"])
def test_an_unknown_layer_is_named_by_the_session_and_by_the_lint(plain: Artifact, copy: Path, name: str) -> None:
    copy.write_text(copy.read_text().replace("Softmax ", f"{name} ", 1))
    with pytest.raises(BundleError, match=f"a layer of the type {name}"):
        backend.Session(copy, plain.settings)
    (found,) = backend.lint_artifact(copy)
    assert isinstance(found, Finding)
    assert (found.rule, found.severity) == ("ncnn-unknown-layer", "error")
    assert name in found.found


def test_a_computed_shape_is_a_finding(copy: Path) -> None:
    layers = network.read(copy)
    first = next(index for index, layer in enumerate(layers) if layer.type == "Reshape")
    computed = replace(layers[first], parameters={6: '"0w,-1"'})
    copy.write_text(network.render((*layers[:first], computed, *layers[first + 1 :])))
    assert [found.rule for found in backend.lint_artifact(copy)] == ["ncnn-computed-shape"]


def test_layers_that_ncnn_does_not_have_stop_an_export(shifted: Model) -> None:
    layers = (Layer("Softmax", "a", ("in",), ("b",)), Layer("torch.topk", "t", ("b",), ("out",)))
    with pytest.raises(LoweringError, match=r"does not have: torch\.topk; take another target"):
        lowering._refuse_unknown(layers, served(shifted))


def test_outputs_of_another_shape_stop_an_export(shifted: Model, plain: Artifact) -> None:
    class Made:
        """What `convert` tells, with a class too many."""

        images = (torch.zeros(1, 3, 64, 64),)
        shapes = ((1, 6),)

    with pytest.raises(LoweringError, match=r"logits of the shape \[6\] from ncnn, found \[5\]"):
        lowering._refuse_other_shapes(plain.path, Made(), served(shifted))  # type: ignore[arg-type]


def test_more_than_one_image_a_call_is_refused_before_any_work(tmp_path: Path) -> None:
    asked = ExportRequest(tmp_path / "absent.pth", "ncnn", out=tmp_path, interface=ModelIO(batch=2))
    with pytest.raises(RequestError, match=r"ncnn has no batch axis: expected batch of 1, or none, .*; found 2"):
        resolve(asked)
    for batch in (None, 1):
        assert resolve(replace(asked, interface=ModelIO(batch=batch))).source.io.batch == batch


@pytest.mark.parametrize("threads", ["0", "two", "9999", "-1"])
def test_no_number_of_threads_is_refused(shifted: Model, tmp_path: Path, threads: str) -> None:
    with pytest.raises(RequestError, match="expected threads of 1 to 1024"):
        lower(served(shifted), tmp_path, threads=threads)


@pytest.mark.parametrize("part", [".param", ".bin"])
def test_half_a_network_is_refused(plain: Artifact, copy: Path, part: str) -> None:
    copy.with_suffix(part).unlink()
    with pytest.raises(BundleError, match=rf"model\{part}"):
        backend.Session(copy, plain.settings)


def test_weights_that_end_early_are_refused(plain: Artifact, copy: Path) -> None:
    file = copy.with_suffix(".bin")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BundleError, match=r"refuses model\.bin"):
        backend.Session(copy, plain.settings)
    with pytest.raises(BundleError, match="the file ends before"):
        backend.dtype_stats(copy, plain.settings)


def test_arrays_that_nobody_keeps_do_not_matter(plain: Artifact, images: dict[str, Any]) -> None:
    """`ncnn.Mat(array)` is a view: a temporary whose memory is taken again gives another answer, or crashes."""
    session = backend.Session(plain.path, plain.settings)
    first = session.run(images)["logits"]
    transposed = images["images"].transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)  # each image has to be copied
    for _ in range(8):
        np.testing.assert_array_equal(session.run({"images": transposed})["logits"], first)


def test_values_inside_are_those_of_the_modules(shifted: Model, plain: Artifact, images: dict[str, Any]) -> None:
    one = {"images": images["images"][:1]}
    shown = [
        value.name for value in backend.values(plain.path, plain.settings) if value.scope == "layers.1.blocks.1.norm2"
    ]
    session = backend.intermediates(plain.path, plain.settings, shown[:1])
    seen: list[torch.Tensor] = []
    layer = shifted.module.get_submodule("layers.1.blocks.1.norm2")
    hook = layer.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        shifted.module(torch.from_numpy(one["images"]))
    hook.remove()
    found = session.run(one)[shown[0]]
    np.testing.assert_allclose(found.reshape(seen[0].shape), seen[0].numpy(), atol=1e-4)


def test_a_profile_has_every_layer_and_its_module(plain: Artifact, images: dict[str, Any]) -> None:
    lines = backend.profile(plain.path, plain.settings, {"images": images["images"][:1]}, 2)
    layers = [layer for layer in network.read(plain.path) if layer.type != "Input"]
    assert [line.operator for line in lines] == [layer.type for layer in layers]
    kinds = {line.operator: line.kind for line in lines}
    assert (kinds["Gemm"], kinds["Softmax"], kinds["Reshape"]) == ("gemm", "softmax", "layout")
    assert next(line.module for line in lines if line.operator == "InnerProduct") == "head"
    assert sum(line.ms for line in lines) > 0


def test_nothing_is_imported_that_downloads(plain: Artifact) -> None:
    backend.Session(plain.path, plain.settings)
    assert not [name for name in sys.modules if name.startswith(("ncnn.model_zoo", "pnnx"))]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["slide_swin_tiny", "swin_tiny"])
def test_a_full_size_model_is_itself_in_the_saved_file(variant: str, tmp_path: Path) -> None:
    """A narrow model does not show a runtime's faults: 224x224 at full width, one image."""
    (config,) = [family.variants[variant] for family in FAMILIES if variant in family.variants]
    torch.manual_seed(0)
    torch.save({"model": randomise(SwinTransformer(config)).state_dict()}, tmp_path / "model.pth")
    full = load_checkpoint(tmp_path / "model.pth", variant=variant)
    source, feeds = served(full), {"images": np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)}
    made = lower(source, tmp_path / "made")
    (expected,) = exact(full, source, feeds)
    assert error(answers(made, feeds), expected) < FP32_ERROR
    assert backend.lint_artifact(made.path) == ()
