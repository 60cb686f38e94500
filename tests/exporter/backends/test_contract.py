"""What every backend owes the pipeline. A new file in exporter/backends/ is tested here without a change."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import ShowsValues
from slide_export.bundle import store as bundle
from slide_export.core.errors import BackendUnavailable, BundleError, RequestError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import precision_named
from slide_export.core.request import ExportRequest
from slide_export.inference.forms import FORMS, NATIVE, SAMPLINGS
from slide_export.inference.served import ServedModel
from slide_export.models.swin import SwinTransformer
from slide_export.verification.opening import artifact_of
from slide_export.workflows import export as pipeline
from tests.conftest import SMALL, randomise

SOURCES = Path(backends.__file__).parent
RESULTS = Path(__file__).parents[2] / "benchmarks" / "RESULTS.md"


def sources(target: str) -> list[str]:
    """The text of each file of a backend, which is a file or a folder."""
    found = [file.read_text() for file in (*SOURCES.glob(f"{target}.py"), *(SOURCES / target).rglob("*.py"))]
    assert found
    return found


@pytest.mark.parametrize("target", backends.names())
def test_it_states_what_it_takes_and_has(target: str) -> None:
    backend = backends.load(target)
    assert backend.ACCEPTS in (OnnxGraph, ServedModel)
    assert "fp32" in backend.PRECISIONS
    assert backend.DISTRIBUTIONS
    assert all(precision_named(name).name == name for name in backend.PRECISIONS)
    assert not backend.PRECISIONS["fp32"]  # what the graph is exported in
    assert all(not option.choices or option.default in option.choices for option in backend.OPTIONS.values())
    assert callable(backend.lower)
    assert callable(backend.Session)
    assert optional.default_form(backend) in FORMS
    assert optional.default_sampling(backend) in SAMPLINGS


def test_auto_is_the_form_of_the_measured_table() -> None:
    """tests/benchmarks/RESULTS.md has the times of half a block of each form, 56x56 and 28x28, under two runtimes.

    OpenVINO's is faster than the fastest of them in a later table, ExecuTorch's has the fewest operators outside of
    XNNPACK in another, and is the fastest of those. ONNX Runtime's is the fastest where a block of its
    layout has 16 floats, and no slower than `taps` elsewhere. The others were not timed: grouped is the smallest graph.
    """
    later, times = (
        {form: [float(cell.strip(" *")) for cell in cells.split("|")] for form, cells in table if form in FORMS}
        for text in RESULTS.read_text().split("alf a slide block")[1:3]
        for table in [re.findall(r"^\| `(\w+)` \|(.+)\|$", text.split("\n## ")[0], re.MULTILINE)]
    )
    phones = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| [\d.]+ \| (\d+) \|", RESULTS.read_text(), re.MULTILINE)
    assert set(times) | set(later) | {form for form, *_ in phones} == set(FORMS) - {NATIVE}  # opt-in, so never `auto`
    chosen = {target: optional.default_form(backends.load(target)) for target in backends.names()}
    assert chosen["onnx"] == min(times, key=lambda form: sum(times[form][:2]))
    best = min(times, key=lambda form: sum(times[form][2:4]))
    assert all(new < old for new, old in zip(later[chosen["openvino"]], later[best], strict=True))
    assert chosen["executorch"] == min(phones, key=lambda row: (int(row[2]), float(row[1])))[0]
    assert (chosen["coreml"], chosen["tensorrt"]) == ("grouped", "grouped")


@pytest.mark.parametrize("target", backends.names())
def test_its_runtime_is_what_a_session_imports(target: str) -> None:
    backend = backends.load(target)
    assert optional.runtime_modules(backend)
    if backends.availability(target).ready:
        assert all(importlib.util.find_spec(module) for module in optional.runtime_modules(backend))


@pytest.mark.parametrize("target", backends.names())
def test_a_stand_in_is_told_in_a_sentence_or_there_is_none(target: str) -> None:
    told = optional.substitute_runtime(backends.load(target))
    assert told is None or "time says nothing" in told


@pytest.mark.parametrize("target", backends.names())
def test_importing_it_imports_no_vendor_package(target: str) -> None:
    """A package imported at a file's top is in every command's time, and is missed where it is not installed."""
    top = [node for text in sources(target) for node in ast.parse(text).body]
    modules = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    packages = {module.split(".")[0] for module in modules}
    assert packages - sys.stdlib_module_names <= {"numpy", "torch", "slide_export"}


@pytest.mark.parametrize("target", backends.names())
def test_it_imports_no_other_backend(target: str) -> None:
    text = "".join(sources(target))
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
def test_it_shows_the_values_that_its_artifact_computes(target: str, tmp_path: Path) -> None:
    """By name, in the order of execution, with the model's modules as scopes; a session gives the asked ones.

    A backend that shows none is refused by name where `diagnose` asks for them.
    """
    if not backends.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    if not isinstance(backends.load(target), ShowsValues):
        with pytest.raises(RequestError, match=f"not available for {target}"):
            optional.values(backends.load(target), tmp_path, {})
        return
    checkpoint = tmp_path / "five_blocks.pth"
    model = SwinTransformer(replace(SMALL, depths=(1, 2, 1, 1), slide_stages=1))
    torch.save({"model": randomise(model).state_dict()}, checkpoint)
    made = pipeline.export(ExportRequest(checkpoint, target=target, out=tmp_path, image_count=1))
    backend, path, _, settings = artifact_of(made)
    values = optional.values(backend, path, settings)
    known: set[str] = set()
    for value in values:
        assert value.name not in known
        assert value.takes or value.output_of
        known.add(value.name)
    module, wider = "layers.1.blocks.0.mlp.fc1", 4  # stage 2's map at 4 times its width
    if values[0].output_of:  # what goes from part to part alone
        module, wider = "layers.1.blocks.0", 1
    made_in = [
        value.name for value in values if (value.scope or "").startswith(module) or module in (value.output_of or ())
    ]
    assert made_in
    if optional.unavailable_reason(backend) is None:
        feeds = {"images": bundle.golden(made).feeds["images"][:1]}
        shown = optional.intermediates(backend, path, settings, made_in[-1:]).run(feeds)[made_in[-1]]
        assert shown.shape[0] == 1
        assert shown.size == 8 * 8 * 32 * wider


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
