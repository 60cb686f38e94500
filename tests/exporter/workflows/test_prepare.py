"""A checkpoint is loaded, run and exported once, whatever is made of it; what does not fit it is refused at once."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from slide_export.calibration import image_cache
from slide_export.calibration.images import bundled, decode
from slide_export.calibration.quantization import NumericFormat
from slide_export.cli import main as cli
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.precision import FP16
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.graph import export as onnx_graph
from slide_export.models.swin import SwinTransformer
from slide_export.workflows import prepare as preparing
from slide_export.workflows.export import export
from slide_export.workflows.finish import finish
from slide_export.workflows.prepare import Prepared, prepare
from slide_export.workflows.resolve import resolve
from tests.conftest import SMALL
from tests.exporter.checkpoint.foreign import golden, write_folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the expensive steps ran."""
    calls: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        honest = getattr(module, name)

        def once_more(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return honest(*args, **options)

        monkeypatch.setattr(module, name, once_more)

    count(preparing, "load_checkpoint")
    count(preparing.reference, "truth")
    count(preparing, "certify")
    count(onnx_graph, "export_module")
    count(onnx_graph, "_passed")
    return calls


def test_two_targets_share_load_reference_and_forms(checkpoint: Path, tmp_path: Path, counted: Counter[str]) -> None:
    first, second = (
        resolve(ExportRequest(checkpoint, target, form="taps", out=tmp_path, image_count=2))
        for target in ("onnx", "openvino")
    )
    prepared = prepare(first.source)
    for plan in (first, second):
        assert finish(plan, prepared).manifest.parity.passed
    assert counted == {"load_checkpoint": 1, "truth": 1, "certify": 1, "_passed": 1}


def test_every_file_is_decoded_once(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[Path] = Counter()
    monkeypatch.setattr(image_cache, "decode", lambda file: decoded.update([file]) or decode(file))
    root = bundled().root
    goal = AccuracyGoal(root, min_sqnr_db=1.0)
    export(ExportRequest(checkpoint, precision="int8", out=tmp_path, images=root, accuracy=goal, form="grouped"))
    assert set(decoded) == set(bundled().files)
    assert set(decoded.values()) == {1}


def test_a_precision_that_destroys_a_model_is_refused_before_anything_is_made(
    checkpoint: Path, tmp_path: Path, counted: Counter[str], capfd: pytest.CaptureFixture[str]
) -> None:
    saved = torch.load(checkpoint)
    saved["model"]["layers.0.blocks.0.mlp.fc2.bias"] += 5000
    torch.save(saved, tmp_path / "offset.pth")
    line = [str(tmp_path / "offset.pth"), "--precision", "fp16", "--image-count", "3", "--out", str(tmp_path / "out")]
    assert cli.run(line) == 1
    assert "fp16 cannot hold this model: 5,00" in " ".join(capfd.readouterr().err.split())
    assert counted["export_module"] == 0
    assert not list(tmp_path.rglob("*.onnx"))


def test_the_softmax_of_one_class_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "one.pth"
    torch.save({"model": SwinTransformer(replace(SMALL, num_classes=1)).state_dict()}, path)
    asked = ExportRequest(path, interface=ModelIO(softmax=True), out=tmp_path)
    with pytest.raises(RequestError, match=r"expected two classes or more for softmax, found 1, .* export the logit"):
        prepare(resolve(asked).source)
    single = prepare(resolve(replace(asked, interface=ModelIO(), image_count=2)).source)
    assert single.holds(NumericFormat(FP16))


@pytest.mark.parametrize("precision", ["fp32", "int8", "mixed"])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"interface": ModelIO(labels=("a", "b"))}, "expected 10 labels, one a class of the head; found 2"),
        ({"keep_fp32": ("layers.9",)}, "expected modules of the model in keep_fp32, found 'layers.9'"),
        ({"form": "taps,taps,taps"}, "expected one form, or one for each of 2 stages whose attention has forms"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_picture_is_decoded(
    precision: str,
    asked: dict[str, Any],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if precision == "fp32" and "keep_fp32" in asked:
        pytest.skip("refused by the request alone")
    monkeypatch.setattr(image_cache, "decode", lambda _: pytest.fail("a picture was decoded"))
    monkeypatch.setattr(preparing, "fuse", lambda _: pytest.fail("the model was fused"))
    request = ExportRequest(checkpoint, precision=precision, out=tmp_path / "out", images=bundled().root, **asked)
    with pytest.raises(RequestError, match=message):
        export(request)
    assert not (tmp_path / "out").exists()


def test_a_graph_is_not_eaten_by_what_is_made_of_it(prepared: Prepared, tmp_path: Path) -> None:
    graph = prepared.in_form("taps", "onnx").graph
    before = onnx.ModelProto.FromString(graph.proto.SerializeToString())
    plan = resolve(ExportRequest(prepared.request.checkpoint.path, precision="w8", form="taps", out=tmp_path))
    finish(plan, prepared)
    assert graph.proto == before


def test_class_names_beside_the_weights_reach_the_classifier(tmp_path: Path) -> None:
    specification = pytest.importorskip("coremltools.proto.Model_pb2", reason="coremltools is not installed")
    names = [f"class {number}" for number in range(10)]
    folder = write_folder(golden("hf_swin"), tmp_path)
    config = golden("hf_swin").meta["arguments"] | {"id2label": dict(enumerate(names))}
    (folder / "config.json").write_text(json.dumps(config))
    bundle = export(
        ExportRequest(
            folder,
            "coreml",
            out=tmp_path,
            image_count=2,
            interface=ModelIO(embed_preprocessing=True, softmax=True),
            options={"input": "image"},
        )
    )
    assert bundle.manifest.labels == tuple(names)
    written = next(bundle.path.rglob("model.mlmodel")).read_bytes()
    described = specification.Model.FromString(written).description
    assert described.predictedFeatureName == "classLabel"
    assert json.loads(described.metadata.userDefined["labels"]) == names
