"""What a backend starts from, who calibrates, and that a bundle which must not ship replaces nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.bundle import store
from slide_export.calibration.images import bundled
from slide_export.core.errors import GateError
from slide_export.core.graph import OnnxGraph
from slide_export.core.progress import no_progress
from slide_export.core.request import ExportRequest
from slide_export.workflows import finish
from slide_export.workflows.prepare import Prepared
from slide_export.workflows.resolve import Plan, resolve

FORM = "taps"
PHOTOS, COUNT = bundled().files[0].parent, 4  # of the six that are left besides the proof's


def plan_of(prepared: Prepared, out: Path, target: str = "onnx", precision: str = "fp32", **more: object) -> Plan:
    if precision == "int8":
        more = {"images": PHOTOS, "calibration_size": COUNT, **more}
    asked = ExportRequest(prepared.request.checkpoint.path, "onnx", precision, FORM, out=out, image_count=2, **more)  # type: ignore[arg-type]
    return replace(resolve(asked), target=target)


@pytest.mark.parametrize(("target", "of_graph"), [("onnx", True), ("openvino", True), ("executorch", False)])
def test_a_backend_gets_the_graph_or_the_module_as_it_takes_it(
    target: str, of_graph: bool, prepared: Prepared, tmp_path: Path
) -> None:
    form = prepared.in_form(FORM, target)
    source, report = finish.source_of(plan_of(prepared, tmp_path, target), prepared, form, no_progress)
    assert isinstance(source, OnnxGraph) is of_graph
    assert source is (form.graph if of_graph else form.served)
    assert report is None


def test_a_precision_that_the_graph_carries_is_written_into_it(prepared: Prepared, tmp_path: Path) -> None:
    form = prepared.in_form(FORM, "onnx")
    source, report = finish.source_of(plan_of(prepared, tmp_path, precision="fp16"), prepared, form, no_progress)
    assert source is not form.graph
    assert report is None


@pytest.mark.parametrize(
    ("target", "precision", "observed"),
    [
        ("onnx", "fp32", False),
        ("onnx", "int8-dynamic", False),
        ("executorch", "int8-dynamic", False),
        ("onnx", "int8", False),  # observed where the graph is quantized
        ("executorch", "int8", True),
    ],
)
def test_images_are_for_a_backend_that_calibrates_by_itself(
    target: str, precision: str, observed: bool, prepared: Prepared, tmp_path: Path
) -> None:
    plan = plan_of(prepared, tmp_path, target, precision)
    images, report = finish.observed_by_backend(plan, prepared)
    assert (images is not None, report is not None) == (observed, observed)
    if images is not None:
        assert len(images) == COUNT
        assert not set(prepared.proof_images.files) & set(finish._drawn(plan, prepared).files)


def test_what_was_asked_for_is_told_of_calibration_where_there_was_one(prepared: Prepared, tmp_path: Path) -> None:
    told = finish._asked(plan_of(prepared, tmp_path, precision="int8", seed=3))
    assert (told.calibration_size, told.seed, told.image_count) == (COUNT, 3, 2)
    for precision in ("fp32", "int8-dynamic"):
        told = finish._asked(plan_of(prepared, tmp_path, precision=precision))
        assert (told.calibration_size, told.seed) == (None, None)


def test_a_bundle_that_must_not_ship_is_kept_beside_the_one_that_it_would_replace(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(prepared, tmp_path, overwrite=True)
    first = finish.finish(plan, prepared)
    before = {path.name: path.read_bytes() for path in first.path.iterdir() if path.is_file()}
    told: list[str] = []

    def refuse(*given: object, **_more: object) -> None:
        told.extend(one for one in given if isinstance(one, str))
        raise GateError("expected the model, found another")

    monkeypatch.setattr(finish.gate, "judge", refuse)
    with pytest.raises(GateError):
        finish.finish(plan, prepared)
    kept = first.path.with_name(f"{first.path.name}.rejected")
    assert {path.name: path.read_bytes() for path in first.path.iterdir() if path.is_file()} == before
    assert store.read(kept).manifest.target == "onnx"
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.path.name, kept.name]
    ending, hint = told
    assert ending == f"; kept as {kept}"
    assert hint.startswith(f"; diagnose {kept} ")
    assert str(prepared.request.checkpoint.path) in hint
