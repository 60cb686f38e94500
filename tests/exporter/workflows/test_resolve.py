"""A request that cannot be carried out is refused before any work: no torch, no decoded picture, nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest

from slide_export.calibration import images as pictures
from slide_export.core.errors import BackendUnavailable, BundleError, CalibrationError, RequestError, SlideExportError
from slide_export.core.request import ExportRequest
from slide_export.workflows.resolve import resolve

REFUSED: list[tuple[dict[str, object], type[SlideExportError], str]] = [
    ({"target": "tflite"}, RequestError, "expected a target of"),
    ({"precision": "int4"}, RequestError, "expected a precision of"),
    ({"precision": "int8"}, RequestError, "int8 needs images"),
    ({"keep_fp32": ("head",)}, RequestError, "keep_fp32 goes with a smaller precision, found it with fp32"),
    ({"target": "openvino", "precision": "fp16", "keep_fp32": ("head",)}, RequestError, "keep_fp32 is not available"),
    ({"tune": True, "form": "taps"}, RequestError, "expected tune or form, found both"),
    ({"precision": "mixed", "mixed_base": "fp16", "tune": True}, RequestError, "expected mixed precision or tune"),
    ({"options": {"spin": "on"}}, RequestError, "expected an option of"),
    ({"image_count": 0}, RequestError, "expected at least 1 image"),
    ({"images": Path("nowhere")}, CalibrationError, "found no directory at nowhere"),
]


@pytest.mark.parametrize(("asked", "kind", "message"), REFUSED)
def test_an_unsound_request_is_refused_before_any_work(
    asked: dict[str, object],
    kind: type[SlideExportError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "decode", lambda _: pytest.fail("a picture was decoded"))
    with pytest.raises(kind, match=message):
        resolve(ExportRequest(tmp_path / "missing.pt", out=tmp_path / "out", **asked))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_bundle_in_the_way_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "missing-onnx-fp32").mkdir()
    with pytest.raises(BundleError, match="exists"):
        resolve(ExportRequest(tmp_path / "missing.pt", out=tmp_path))


def test_a_missing_runtime_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide_export.backends.registry._first_installed", lambda alternatives: {})
    with pytest.raises(BackendUnavailable, match="found it not installed"):
        resolve(ExportRequest(tmp_path / "missing.pt", out=tmp_path))


def test_resolving_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from slide_export.core.request import ExportRequest; "
        "from slide_export.workflows.resolve import resolve; "
        f"plan = resolve(ExportRequest(Path('c.pt'), 'coreml', 'w8', out=Path({str(tmp_path)!r}))); "
        "print(plan.destination.path.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["c-coreml-w8", "False"]


def test_a_refused_command_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; import slide_export.cli.main as c; "
        f"code = c.run(['export', 'c.pt', '--precision', 'mixed', '--min-sqnr', '40', '--out', {str(tmp_path)!r}]); "
        "print(code, [m for m in ('torch', 'scipy', 'sympy', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"


def test_a_plan_is_complete(tmp_path: Path) -> None:
    plan = resolve(ExportRequest(Path("c.pt"), precision="w8", out=tmp_path, keep_fp32=("head",)))
    assert plan.options == {"spinning": "on", "headers": ""}
    assert plan.numbers.recipe is not None
    assert plan.numbers.recipe.keep_fp32[-1] == "head"
    assert plan.destination.path == tmp_path / "c-onnx-w8"
