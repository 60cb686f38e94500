"""`lint` takes whatever holds a model, and says what will be exported."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from slide_export.backends import registry as backends
from slide_export.backends.ncnn.runtime import EXACT
from slide_export.bundle import store
from slide_export.bundle.records import ArtifactRecord
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError, CheckpointError, RequestError
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from slide_export.linter import lint
from tests.bundles import minimal
from tests.exporter.bundle.test_store import GOLDEN
from tests.exporter.linter.conftest import Saver, UnfoldAttention, convert_module, to_onnx

SETTINGS = {
    "onnx": {},
    "tensorrt": {"flavor": "rtx", "tf32": False},
    "ncnn": {"options": dict.fromkeys(EXACT, False), "threads": 1, "bytes": False},
    "coreml": {"compute_units": "ALL", "mode": "float32", "bytes": False, "labels": []},
}
EXAMPLE = torch.zeros(1, 8, 8, 8)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(to_onnx(UnfoldAttention(), EXAMPLE), path)
    return path


def bundle(path: Path, target: str, artifact: str) -> Path:
    if not (path / artifact).exists():
        (path / artifact).write_bytes(b"an engine")
    record = ArtifactRecord(artifact, 1, settings=SETTINGS[target])
    store.write(path, minimal(target=target, artifact=record), GOLDEN, "# report\n")
    return path


def test_a_checkpoint_has_no_error_and_names_what_fusing_handles(checkpoint: Path) -> None:
    findings = lint(checkpoint)
    assert not any(f.severity == "error" for f in findings)
    handled = [f for f in findings if f.found.startswith("trained form: ")]
    assert {f.severity for f in handled} == {"hint"}
    assert {(f.rule, f.module) for f in handled} >= {
        ("train-time-form", "layers.0.blocks.0.attn"),
        ("train-time-form", "layers.2.blocks.0"),
        ("gather-constant", "layers.3.blocks.0.attn"),
    }
    assert all(
        f.targets == backends.names() for f in handled if f.rule != "multiplier"
    )  # that one is the form's, by target


def test_the_multiplier_is_reported_once_where_it_will_be_exported(model: Model) -> None:
    findings = [f for f in lint(model, ["onnx"]) if f.rule == "multiplier"]
    attentions = ("layers.0.blocks.0.attn", "layers.1.blocks.0.attn", "layers.1.blocks.1.attn")
    if choose(fuse(model), "wide_shifts").form == "grouped":
        assert {f.module for f in findings} == {f"{name}.{part}" for name in attentions for part in ("keys", "values")}
        assert {f.severity for f in findings} == {"warning"}
    else:
        assert {f.module for f in findings} == {f"{n}.{p}" for n in attentions for p in ("dep_conv", "dep_conv1")}
        assert {f.severity for f in findings} == {"hint"}


def test_an_onnx_file(onnx_file: Path) -> None:
    errors = [(f.rule, f.module, f.targets) for f in lint(str(onnx_file)) if f.severity == "error"]
    assert errors == [
        ("rank", "unfold", ("coreml",)),
        ("rank", "unfold", ("ncnn",)),
        ("im2col", "unfold", backends.names()),
    ]  # two gathers make rank 6


def test_a_package(tmp_path: Path) -> None:
    convert_module(nn.Linear(32, 32), (1, 64, 32, 32), tmp_path / "model.mlpackage")
    assert [f.rule for f in lint(tmp_path / "model.mlpackage")] == ["ane-linear"]
    assert lint(tmp_path / "model.mlpackage", ["onnx"]) == ()


def test_a_bundle_is_judged_for_its_own_target(onnx_file: Path) -> None:
    findings = lint(bundle(onnx_file.parent, "onnx", "model.onnx"))
    assert findings[0].rule == "im2col"
    assert {f.targets for f in findings} == {("onnx",)}
    assert lint(onnx_file.parent, ["coreml"]) == ()


def test_an_altered_bundle_is_refused_as_verify_refuses_it(onnx_file: Path) -> None:
    path = bundle(onnx_file.parent, "onnx", "model.onnx")
    onnx.save(to_onnx(nn.Identity(), EXAMPLE), onnx_file)
    with pytest.raises(BundleError, match=r"expected model\.onnx as it was exported, its sha256 differs"):
        lint(path)


def test_a_bundle_of_a_plan_is_judged_by_the_graph_beside_it(onnx_file: Path) -> None:
    path = bundle(onnx_file.parent, "tensorrt", "model.plan")
    assert lint(path)[0].targets == ("tensorrt",)
    onnx_file.unlink()
    with pytest.raises(BundleError, match="lint the checkpoint instead"):
        lint(bundle(path, "tensorrt", "model.plan"))


def test_a_bundle_with_a_package(tmp_path: Path, save: Saver) -> None:
    convert_module(nn.Linear(32, 32), (1, 64, 32, 32), tmp_path / "model.mlpackage")
    assert {f.rule for f in lint(bundle(tmp_path, "coreml", "model.mlpackage"))} == {"ane-linear"}


def test_any_module_with_an_example() -> None:
    assert lint(UnfoldAttention(), example=EXAMPLE)[0].module == "unfold"
    with pytest.raises(RequestError, match="expected an example input"):
        lint(UnfoldAttention())


def test_an_exported_model_has_the_findings_that_its_checkpoint_foretold(model: Model, tmp_path: Path) -> None:
    graph = onnx_graph.export(in_form(choose(fuse(model), "wide_shifts"), ModelIO()))
    onnx.save(graph.proto, tmp_path / "model.onnx")
    foretold = {(f.rule, f.module) for f in lint(model, ["onnx"]) if not f.found.startswith("trained form: ")}
    assert {(f.rule, f.module) for f in lint(tmp_path / "model.onnx", ["onnx"])} == foretold


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none at"):
        lint(tmp_path / "missing.pth")
    with pytest.raises(CheckpointError, match="expected an ONNX model"):
        lint(tmp_path / "missing.onnx")
    with pytest.raises(BundleError, match="neither"):
        lint(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="expected an ONNX model"):
        lint(tmp_path / "broken.onnx")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="expected a manifest of schema"):
        lint(tmp_path)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(RequestError, match="expected targets of"):
        lint("model.onnx", ["tflite"])


def test_importing_it_imports_nothing_heavy() -> None:
    check = "import sys, slide_export.linter; sys.exit(bool({'torch', 'onnx', 'coremltools'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_linting_raises_no_warning(checkpoint: Path) -> None:
    check = f"from slide_export.linter import lint; lint({str(checkpoint)!r})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
