"""What every backend owes the pipeline. A new file in exporter/backends/ is tested here without a change."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

from slide_export import backends
from slide_export.errors import BackendUnavailable, BundleError, RequestError
from slide_export.types import LoweredModel, OnnxGraph

SOURCES = Path(backends.__file__).parent


@pytest.mark.parametrize("target", backends.names())
def test_it_states_what_it_takes_and_has(target: str) -> None:
    backend = backends.load(target)
    assert backend.ACCEPTS in (OnnxGraph, LoweredModel)
    assert "fp32" in backend.PRECISIONS
    assert backend.DISTRIBUTIONS
    assert set(backend.PRECISIONS) >= backend.IN_GRAPH
    assert all(not option.choices or option.default in option.choices for option in backend.OPTIONS.values())
    assert callable(backend.lower)
    assert callable(backend.census)


@pytest.mark.parametrize("target", backends.names())
def test_importing_it_imports_no_vendor_package(target: str) -> None:
    tree = ast.parse((SOURCES / f"{target}.py").read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name.split(".")[0] for node in top if isinstance(node, ast.Import) for alias in node.names}
    modules |= {(node.module or "").split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
    assert not modules & {"onnx", "onnxruntime", "openvino", "coremltools", "tensorrt", "tensorrt_rtx"}


@pytest.mark.parametrize("target", backends.names())
def test_it_imports_no_other_backend(target: str) -> None:
    text = (SOURCES / f"{target}.py").read_text()
    others = set(backends.names()) - {target}
    assert not any(f"backends.{other}" in text or f"backends import {other}" in text for other in others)


@pytest.mark.parametrize("target", backends.names())
def test_a_missing_runtime_is_unavailable_with_the_command(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.load(target), "DISTRIBUTIONS", ("no-such-runtime",))
    with pytest.raises(
        BackendUnavailable, match=rf"expected no-such-runtime.*pip install \"slide-export\[{target}\]\""
    ):
        backends.require(target, "fp32")
    assert not backends.availability(target).ready


def test_any_one_of_the_alternatives_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.load("onnx"), "DISTRIBUTIONS", (("no-such-runtime", "numpy", "torch"), "pillow"))
    here = backends.availability("onnx")
    assert here.ready
    assert here.versions == {name: importlib.metadata.version(name) for name in ("numpy", "pillow")}


def test_of_alternatives_the_first_is_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.load("onnx"), "DISTRIBUTIONS", (("no-such-runtime", "nor-this-one"), "numpy"))
    here = backends.availability("onnx")
    assert here.missing == ("no-such-runtime",)
    assert here.versions.keys() == {"numpy"}


@pytest.mark.parametrize("target", backends.names())
def test_what_is_no_artifact_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"nothing")
    with pytest.raises((BundleError, BackendUnavailable)):
        backends.load(target).Session(tmp_path / "model", {})


@pytest.mark.parametrize("target", backends.names())
def test_unknown_requests_are_refused_with_the_list(target: str) -> None:
    with pytest.raises(RequestError, match="expected a precision of fp32"):
        backends.require(target, "fp7")
    with pytest.raises(RequestError, match="expected an option of"):
        backends.complete_options(target, {"turbo": "on"})


def test_an_unknown_target_is_refused_with_the_list() -> None:
    with pytest.raises(RequestError, match="onnx"):
        backends.load("abacus")
