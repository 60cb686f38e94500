"""One weight off by a percent in any artifact, or a wrong lowering: the module is named, on every runnable target."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from slide_export import api
from slide_export.backends import registry as backends
from slide_export.backends import tensorrt
from slide_export.bundle.store import Bundle
from slide_export.cli import main as cli
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BackendUnavailable, ParityError
from slide_export.core.request import ExportRequest
from slide_export.diagnosis import diagnose
from slide_export.digits import train
from slide_export.inference.forms.grouped import GroupedSlideAttention
from slide_export.proof.session import ArtifactValues
from slide_export.verification import bundle as verification
from slide_export.verification.apart import inside_apart
from slide_export.workflows import export as pipeline
from tests.bundles import restate
from tests.models.dense_cases import VALUES, golden, write

DIGITS = Path(train.__file__).parent
FILES = {"onnx": "model.onnx", "openvino": "model.bin", "coreml": "weight.bin"}
BLOCKS = ("layers.0.blocks.0", "layers.1.blocks.1", "layers.2.blocks.0", "layers.3.blocks.0")


def perturb(made: Bundle, checkpoint: Path, name: str) -> None:
    """Makes one weight of the artifact a percent larger, where the artifact stores it, and its hashes agree."""
    (file,) = made.path.rglob(FILES[made.manifest.target])
    data = bytearray(file.read_bytes())
    weight = torch.load(checkpoint)["model"][name].numpy()
    row, column = np.unravel_index(np.abs(weight).argmax(), weight.shape)
    for pattern, index in ((weight[row], column), (weight[:, column], row)):  # stored either way round
        at = data.find(np.ascontiguousarray(pattern).tobytes()) + 4 * int(index)
        if data[at : at + 4] == weight[row, column].tobytes():
            break
    else:
        raise AssertionError(f"{name} is not in {file}")
    data[at : at + 4] = np.float32(1.01 * weight[row, column]).tobytes()
    file.write_bytes(bytes(data))
    restate(made.path)


@pytest.mark.parametrize("target", sorted(FILES))
def test_one_weight_off_by_a_percent_names_its_module(target: str, checkpoint: Path, tmp_path: Path) -> None:
    made = pipeline.export(ExportRequest(checkpoint, target=target, out=tmp_path, image_count=1))
    healthy = diagnose(made.path, checkpoint)
    assert healthy.culprit is None
    assert {"patch_embed", "head", *BLOCKS, *(f"{block}.attn" for block in BLOCKS)} <= {r.module for r in healthy.rows}
    for weight, blamed in (
        ("layers.2.blocks.0.attn.proj.weight", "layers.2.blocks.0.attn"),
        ("layers.1.blocks.1.mlp.fc2.weight", "layers.1.blocks.1.mlp.fc2"),  # before it, so the first again
    ):
        perturb(made, checkpoint, weight)
        found = diagnose(made.path, checkpoint)
        assert found.culprit is not None
        assert found.culprit.module == blamed
    with pytest.raises(ParityError):
        verification.verify(made.path)


def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    original = GroupedSlideAttention.__init__

    def altered(self: Any, fused: Any) -> None:
        original(self, fused)
        self.keys.weight.data[0, 0, 0, 0] += 0.01

    monkeypatch.setattr(GroupedSlideAttention, "__init__", altered)


@pytest.mark.parametrize("still_wrong", [False, True])
def test_a_wrong_lowering_is_named_by_its_first_attention(
    still_wrong: bool, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        wrong(context)
        with pytest.raises(ParityError, match=r"; diagnose .*small-onnx-fp32\.rejected against"):
            pipeline.export(ExportRequest(checkpoint, form="grouped", out=tmp_path, image_count=2))
        found = diagnose(tmp_path / "small-onnx-fp32.rejected", checkpoint) if still_wrong else None
    found = found or diagnose(tmp_path / "small-onnx-fp32.rejected", checkpoint)
    assert found.culprit is not None
    assert found.culprit.module == "layers.0.blocks.0.attn"


@pytest.mark.parametrize("target", ["onnx", "coreml"])
def test_half_is_explained_by_its_own_floor(target: str, checkpoint: Path, tmp_path: Path) -> None:
    interface = ModelIO(batch=2, embed_preprocessing=True)
    recipe = ExportRequest(
        checkpoint, target=target, precision="fp16", out=tmp_path, image_count=1, interface=interface
    )
    found = diagnose(pipeline.export(recipe).path, checkpoint)
    assert found.culprit is None
    assert all(row.floor_db is not None and 40 < row.floor_db < 80 for row in found.rows)


@pytest.mark.parametrize("target", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_explained_by_its_own_floor(target: str, tmp_path: Path) -> None:
    images = DIGITS / "heldout"
    recipe = ExportRequest(
        DIGITS / "digits.pth", target, "int8", out=tmp_path, images=images, image_count=2, calibration_size=32
    )
    found = diagnose(pipeline.export(recipe).path, recipe.checkpoint)
    assert found.culprit is None
    norms = [row for row in found.rows if row.module.endswith(("norm1", "norm2"))]
    assert len(norms) == 12
    assert all(row.added_db > 120 for row in norms)  # they stay in float


def test_a_block_that_int8_cannot_hold_is_named_in_the_rejected_bundle(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved = torch.load(DIGITS / "digits.pth", weights_only=False)
    mlp = "layers.3.blocks.0.mlp"
    for name in ("fc1.weight", "fc1.bias"):
        saved["model"][f"{mlp}.{name}"][5] *= 40_000  # one channel: 8 bits over it leave nothing of the others
    saved["model"][f"{mlp}.fc2.weight"][:, 5] /= 40_000
    torch.save(saved, tmp_path / "hostile.pth")
    line = [str(tmp_path / "hostile.pth"), "--precision", "int8", "--out", str(tmp_path), "--image-count", "2"]
    assert cli.run([*line, "--images", str(DIGITS / "heldout"), "--calibration-size", "32"]) == 1
    kept = str(tmp_path / "hostile-onnx-int8.rejected")
    assert cli.run(["diagnose", kept, "--against", line[0], "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert found["culprit"] == f"{mlp}.fc2"
    assert found["verdict"].endswith(f"keep_fp32: [{mlp}.fc2]")


HEAD = ("cls_convs.0", "reg_convs.0", "cls_convs.1", "reg_convs.1", "retina_cls", "retina_reg")
LEVELS = 5


def detector(tmp_path: Path, target: str) -> tuple[Bundle, Path]:
    """A small RetinaNet, of which every layer of the head is called on each level."""
    saved = write(golden("pvt_retinanet_fork"), tmp_path)
    asked = {"input_size": (64, 96), "values": VALUES[saved.stem], "image_count": 1}
    return api.export(saved, target=target, out=tmp_path, **asked), saved


@contextmanager
def altered(made: Bundle) -> Iterator[onnx.GraphProto]:
    """The graph of an ONNX bundle, to be changed; it is saved, and the hashes agree."""
    path = made.path / FILES["onnx"]
    proto = onnx.load(path)
    yield proto.graph
    onnx.save(proto, path)
    restate(made.path)


@pytest.mark.parametrize("target", [*sorted(FILES), pytest.param("ncnn", marks=pytest.mark.slow)])
def test_a_detectors_head_is_compared_at_each_call(target: str, tmp_path: Path) -> None:
    """In ncnn 3x3 convolutions lose 20 dB more than a sum does: by Winograd's algorithm, which is no fault."""
    if not backends.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    made, saved = detector(tmp_path, target)
    found = diagnose(made.path, saved)
    assert found.culprit is None
    assert found.repeated == ()
    calls = {row.module: row.calls for row in found.rows}
    assert [calls[f"bbox_head.{layer}"] for layer in HEAD] == [LEVELS] * len(HEAD)
    assert {name for name, count in calls.items() if count > 1} <= {
        f"bbox_head.{layer}{part}" for layer in HEAD for part in ("", ".conv")
    }


def test_a_weight_of_a_detectors_head_names_its_layer(tmp_path: Path) -> None:
    made, saved = detector(tmp_path, "onnx")
    with altered(made) as graph:
        (stored,) = (one for one in graph.initializer if one.name.endswith("cls_convs.1.conv.weight"))
        weight = numpy_helper.to_array(stored).copy()
        weight.flat[np.abs(weight).argmax()] *= 1.01
        stored.CopyFrom(numpy_helper.from_array(weight, stored.name))
    found = diagnose(made.path, saved)
    assert found.culprit is not None
    assert (found.culprit.module, found.culprit.calls) == ("bbox_head.cls_convs.1.conv", LEVELS)


def test_a_fault_on_one_level_names_the_call(tmp_path: Path) -> None:
    made, saved = detector(tmp_path, "onnx")
    with altered(made) as graph:
        (third,) = (node for node in graph.node if node.name == "/bbox_head/retina_reg/Conv_2")
        (bias,) = (one for one in graph.initializer if one.name == third.input[2])
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), "other"))
        third.input[2] = "other"
    found = diagnose(made.path, saved)
    assert found.culprit is not None
    assert found.culprit.label == "bbox_head.retina_reg, call 3 of 5"


def test_layers_whose_calls_an_artifact_does_not_tell_apart_are_named(tmp_path: Path) -> None:
    """As where a runtime shows the values between its parts alone, and a part has all of a head in it."""
    made, saved = detector(tmp_path, "onnx")

    @contextmanager
    def without_most_calls(shipped: Bundle) -> Iterator[ArtifactValues]:
        """What the artifact shows, without the values of a layer from its second call on."""
        with inside_apart(shipped) as inside:
            values = tuple(one for one in inside.values if not re.search(r"bbox_head/.*_[1-4]/", one.name))
            yield replace(inside, values=values)

    found = diagnose(made.path, saved, inside_of=without_most_calls)
    layers = (*(f"{layer}.conv" for layer in HEAD[:4]), *HEAD[4:])
    assert found.repeated == tuple(f"bbox_head.{layer}" for layer in layers)
    assert not any(row.module.startswith("bbox_head.") for row in found.rows)
    assert found.culprit is None


def test_tensorrt_builds_an_engine_that_shows_its_modules(checkpoint: Path, tmp_path: Path) -> None:
    """The engine needs a GPU to run; here the graph that it is built from is diagnosed."""
    if not backends.availability("tensorrt").ready:
        pytest.skip("tensorrt is not installed")
    made = pipeline.export(ExportRequest(checkpoint, target="tensorrt", out=tmp_path, image_count=1))
    plan = made.path / made.manifest.artifact.path
    values = tensorrt.values(plan, {})
    shown = [value.name for value in values if value.scope == "layers.1.blocks.0.mlp.fc1"][-1:]
    built = tensorrt.build_showing(plan, shown, tmp_path)
    assert built.stat().st_size > 0
    assert [output.name for output in onnx.load(built.with_name("model.onnx")).graph.output] == ["logits", *shown]
    if tensorrt.unavailable_reason():
        with pytest.raises(BackendUnavailable, match="expected an NVIDIA GPU"):
            tensorrt.intermediates(plan, {}, shown)
        assert "has not run" in diagnose(made.path, checkpoint).evaluator


def test_the_command_line_names_the_layer_and_exits_1(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = pipeline.export(ExportRequest(checkpoint, out=tmp_path, image_count=1))
    line = ["diagnose", str(made.path), "--against", str(checkpoint)]
    assert cli.run(line) == 0
    assert "no module loses more than fp32 explains" in capfd.readouterr().out
    perturb(made, checkpoint, "layers.1.blocks.0.mlp.fc1.weight")
    assert cli.run([*line, "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["culprit"] == "layers.1.blocks.0.mlp.fc1"
    assert cli.run(line[:2]) == 2
    assert "a bundle holds the trained model's outputs, not what is inside it" in capfd.readouterr().err
