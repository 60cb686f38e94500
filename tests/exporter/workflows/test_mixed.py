"""The search keeps what cannot be reduced, by name, and nothing else; the rest is reduced and proved."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from slide_export.backends import registry as backends
from slide_export.calibration.images import bundled
from slide_export.calibration.recipe import default, dump, parse
from slide_export.cli import main as cli
from slide_export.core.errors import AccuracyError, ParityError, RequestError
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.models.swin import SwinTransformer
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline
from slide_export.workflows.mixed import search
from slide_export.workflows.prepare import prepare
from slide_export.workflows.resolve import resolve
from tests.conftest import SMALL, randomise

HOSTILE = "layers.1.blocks.0.mlp.fc1"
OUTLIER = 3000.0


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    photographs = [Image.open(file).convert("RGB") for file in bundled().files]
    for index in range(24):
        whole = photographs[index % len(photographs)]
        left, top = (int(rng.integers(0, size - 150)) for size in whole.size)
        whole.crop((left, top, left + 150, top + 150)).save(root / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same function with one channel of one block's MLP thousands of times larger: no 8 bits hold it.

    Of four blocks, for the search builds an artifact for each layer.
    """
    torch.manual_seed(0)
    saved = {"model": randomise(SwinTransformer(replace(SMALL, depths=(1, 1, 1, 1)))).state_dict()}
    norm, layer = (saved["model"][f"layers.1.blocks.0.{name}"] for name in ("norm2.weight", "mlp.fc1.weight"))
    norm[5] *= OUTLIER
    saved["model"]["layers.1.blocks.0.norm2.bias"][5] *= OUTLIER
    layer[:, 5] /= OUTLIER
    path = tmp_path_factory.mktemp("hostile") / "hostile.pth"
    torch.save(saved, path)
    return path


def recipe(checkpoint: Path, images: Path, out: Path, target: str = "onnx", **more: object) -> ExportRequest:
    return ExportRequest(checkpoint, target, "mixed", "grouped", out=out, images=images, image_count=4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_one_hostile_block_is_found_by_name_and_kept(target: str, hostile: Path, images: Path, tmp_path: Path) -> None:
    if not backends.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    goal = AccuracyGoal(images, max_drop=5.0)
    asked = tmp_path / "recipe.yaml"
    narrow = replace(default(target, "int8"), reduce_range="on")  # "auto" asks the CPU, and answers near a tie differ
    asked.write_text(dump(narrow, "recipe", target))
    made = pipeline.export(recipe(hostile, images, tmp_path, target, accuracy=goal, quantization_recipe=asked))
    found = made.manifest.mixed
    assert made.path.name == f"hostile-mixed-{target}-int8"
    assert found is not None
    assert found.kept == (HOSTILE,)
    assert found.ranking[0].module == HOSTILE
    assert found.ranking[0].sqnr_db < found.ranking[1].sqnr_db - 10
    assert parse((made.path / "quantization.yaml").read_text(), "quantization.yaml").keep_fp32 == (HOSTILE,)
    assert f"- `{HOSTILE}`" in (made.path / "report.md").read_text()
    assert made.manifest.accuracy is not None
    assert made.manifest.accuracy.passed
    assert verification.verify(made.path, hostile).passed


def test_without_it_the_same_export_is_refused(hostile: Path, images: Path, tmp_path: Path) -> None:
    plain = ExportRequest(hostile, "onnx", "int8", "grouped", out=tmp_path, images=images, image_count=4)
    with pytest.raises(ParityError, match="dB"):
        pipeline.export(plain)


def test_a_sound_model_keeps_nothing(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    goal = AccuracyGoal(images, max_drop=10.0)
    plan = resolve(ExportRequest(checkpoint, "onnx", "int8", out=tmp_path, images=images, accuracy=goal))
    found = search(plan, prepare(plan.source))
    assert found.kept == ()
    assert found.before == found.after


def test_half_keeps_what_it_cannot_hold(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    """One layer's activations are beyond the range of float16, and its weights bring them back."""
    saved = torch.load(checkpoint)
    saved["model"]["layers.2.blocks.0.norm2.weight"] *= 1e5
    saved["model"]["layers.2.blocks.0.norm2.bias"] *= 1e5
    saved["model"]["layers.2.blocks.0.mlp.fc1.weight"] /= 1e5
    path = tmp_path / "huge.pth"
    torch.save(saved, path)
    goal = AccuracyGoal(images, max_drop=5.0, min_sqnr_db=40)
    asked = ExportRequest(path, "onnx", "fp16", "grouped", out=tmp_path, images=images, accuracy=goal)
    found = pipeline.export(replace(asked, precision="mixed", mixed_base="fp16")).manifest
    assert found.options.keep_fp32 == ("layers.2.blocks.0.mlp.fc1",)
    assert found.parity.passed


def test_what_no_layer_in_float_can_mend_is_refused_before_the_search(
    checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    """The scores of an attention overflow float16: a product of two activations, which is no layer that can be kept."""
    saved, steps = torch.load(checkpoint), list[str]()
    saved["model"]["layers.3.blocks.0.attn.qkv.weight"] *= 300
    torch.save(saved, tmp_path / "scores.pth")
    plan = resolve(recipe(tmp_path / "scores.pth", images, tmp_path, mixed_base="fp16"))

    def step(what: str) -> AbstractContextManager[None]:
        """Note what began."""
        steps.append(what)
        return nullcontext()

    with pytest.raises(
        ParityError, match=r"^fp16 cannot hold this model: .* inside layers\.3\.blocks\.0\.attn; take fp32"
    ):
        search(plan, prepare(plan.source), step)
    assert steps == ["export to ONNX"]


def test_a_goal_out_of_reach_is_said(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    goal = AccuracyGoal(images, max_drop=-1.0)
    with pytest.raises(AccuracyError, match="with every layer in float: the goal is out of reach"):
        pipeline.export(recipe(checkpoint, images, tmp_path, mixed_base="fp16", accuracy=goal))
    assert not list(tmp_path.iterdir())


def test_a_target_without_the_precision_in_its_graph_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"whose graph carries fp16 to mix it with float, onnx.*; found openvino"):
        pipeline.export(ExportRequest(checkpoint, "openvino", "mixed", out=tmp_path, mixed_base="fp16"))
    with pytest.raises(RequestError, match=r"expected mixed precision or .*tune.*, found both"):
        pipeline.export(ExportRequest(checkpoint, "onnx", "mixed", out=tmp_path, mixed_base="fp16", tune=True))


def test_named_modules_stay_in_float_and_unknown_ones_are_refused(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = [str(checkpoint), "--precision", "fp16", "--out", str(tmp_path), "--keep-fp32"]
    assert cli.run([*line, "layers.3.blocks.0.mpl"]) == 2
    assert "one is 'layers.3.blocks.0.mlp" in capfd.readouterr().err
    assert cli.run([*line, "layers.1.blocks.0.mlp"]) == 0
    graph = onnx.load(tmp_path / "small-onnx-fp16" / "model.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds["layers.1.blocks.0.mlp.fc1.bias"] == onnx.TensorProto.FLOAT
    assert kinds["layers.2.blocks.0.mlp.fc1.bias_half"] == onnx.TensorProto.FLOAT16
    assert cli.run(["verify", str(tmp_path / "small-onnx-fp16")]) == 0
