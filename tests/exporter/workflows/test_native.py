"""The digits with form native: built here, proved with the portable form beside it, and loaded by nobody unasked."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from slide_export.backends.openvino import precision_obstacle
from slide_export.bundle import store
from slide_export.bundle.manifest import MANIFEST
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, BundleError, ParityError, RequestError
from slide_export.core.files import sha256_of
from slide_export.core.request import ExportRequest
from slide_export.linter.dispatch import lint
from slide_export.native import LIBRARY, SOURCE, library
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline
from tests.native import HEADERS, needs_a_compiler, needs_headers

DIGITS = Path(__file__).parents[3] / "deploy_examples" / "00_digits"
TARGETS = ["openvino", pytest.param("onnx", marks=needs_headers)]


def asked(target: str, out: Path, **changes: object) -> ExportRequest:
    options = {"headers": str(HEADERS)} if target == "onnx" else {}
    wanted = ExportRequest(
        DIGITS / "digits.pth", target, form="native", out=out, images=DIGITS / "heldout", options=options
    )
    return replace(wanted, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=TARGETS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(asked(request.param, tmp_path_factory.mktemp("native")))


@needs_a_compiler
def test_both_forms_are_proved_and_hashed(made: Bundle) -> None:
    manifest, inner = made.manifest, store.read(made.path / "portable").manifest
    assert (manifest.options.form, manifest.portable) == ("native", "portable")
    assert "native" not in inner.options.form
    assert (inner.native, inner.portable) == (None, None)
    assert manifest.parity.passed
    assert inner.parity.passed
    assert manifest.native is not None
    assert {LIBRARY, SOURCE, f"portable/{MANIFEST}", f"portable/{inner.artifact.path}"} <= manifest.files.keys()
    assert manifest.files[LIBRARY].sha256 == sha256_of(made.path / LIBRARY)
    assert (made.path / SOURCE).read_bytes() == Path(library.__file__).with_name(SOURCE).read_bytes()
    assert LIBRARY in (made.path / "report.md").read_text()


@needs_a_compiler
def test_verify_repeats_both_proofs(made: Bundle) -> None:
    assert verification.verify(made.path).passed
    assert verification.verify(made.path, DIGITS / "digits.pth").passed


@needs_a_compiler
def test_the_example_loads_the_library(made: Bundle) -> None:
    folder = {"onnx": "01_onnxruntime_python", "openvino": "02_openvino_python"}[made.manifest.target]
    program = DIGITS.parent / folder / "classify.py"
    ended = subprocess.run([sys.executable, str(program), str(made.path), "--check"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@needs_a_compiler
def test_an_altered_portable_form_is_found_by_the_outer_bundle(made: Bundle, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "copy")
    inner = store.read(tmp_path / "copy" / "portable").manifest.artifact.path
    with (tmp_path / "copy" / "portable" / inner).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=f"portable/{inner} as it was exported"):
        verification.verify(tmp_path / "copy")


@needs_a_compiler
def test_anothers_library_is_not_loaded(made: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing was built here"))
    with pytest.raises(BundleError, match="runs its code") as refused:
        verification.verify(made.path)
    assert made.manifest.files[LIBRARY].sha256 in str(refused.value)
    monkeypatch.setenv(library.VARIABLE, made.manifest.files[LIBRARY].sha256)
    assert verification.verify(made.path).passed


@needs_a_compiler
@needs_headers
def test_lint_has_a_hint_and_no_error(made: Bundle) -> None:
    if made.manifest.target == "onnx":  # an IR is not linted
        found = {finding.rule: finding.severity for finding in lint(made.path)}
        assert found["own-operator"] == "hint"
        assert "error" not in found.values()


@needs_a_compiler
@needs_headers
def test_one_wrong_weight_of_the_operator_fails(tmp_path: Path) -> None:
    """Altered in the graph, before the artifact is lowered: the proof sees what the operator computes."""
    from slide_export.backends import onnx as backend

    original = backend.lower

    def wrong(graph: object, directory: Path, options: object) -> object:
        artifact = original(graph, directory, options)  # type: ignore[arg-type]
        if artifact.native is not None:
            proto = onnx.load(artifact.path)
            keys = next(item for item in proto.graph.initializer if item.name.endswith("attn.values"))
            values = numpy_helper.to_array(keys).copy()
            values.flat[np.abs(values).argmax()] *= 1.01
            keys.CopyFrom(numpy_helper.from_array(values, keys.name))
            onnx.save(proto, artifact.path)
        return artifact

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "lower", wrong)
        with pytest.raises(ParityError):
            pipeline.export(asked("onnx", tmp_path))


@needs_a_compiler
@pytest.mark.parametrize("precision", ["int8", "bf16", pytest.param("fp16", marks=pytest.mark.slow)])
def test_smaller_precisions_are_proved(precision: str, tmp_path: Path) -> None:
    if obstacle := precision_obstacle(precision):
        pytest.skip(f"needs {precision}: {obstacle}")
    made = pipeline.export(asked("openvino", tmp_path, precision=precision))
    assert made.manifest.float_build is not None
    assert made.manifest.float_build.passed
    assert made.manifest.float_build.stored.tensors > 50


def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="loads the operator of form native, onnx or openvino; found coreml"):
        pipeline.export(asked("coreml", tmp_path))
    with pytest.raises(RequestError, match=r"a precision of fp32, .* with form native for openvino, found mixed"):
        pipeline.export(asked("openvino", tmp_path, precision="mixed"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(library.COMPILER, raising=False)
    with pytest.raises(BackendUnavailable, match=r"C\+\+ compiler"):
        pipeline.export(asked("openvino", tmp_path))
    assert list(tmp_path.iterdir()) == []


@needs_a_compiler
def test_without_headers_it_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"expected onnxruntime_c_api\.h .* found no folder named"):
        pipeline.export(asked("onnx", tmp_path, options={}))
