"""A load without settings is measured where it computes otherwise than the proof, and said to be so."""

import logging
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends import coreml, onnx, openvino, tensorrt
from slide_export.backends.openvino import plain
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.plain_load import PlainLoad
from slide_export.verification.bundle import verify

PATH = Path("model.xml")
HALF_STEP = 2.0**-9  # of bfloat16: its relative rounding


def test_onnx_runtime_computes_what_the_graph_says() -> None:
    assert onnx.plain_load(PATH, {"optimization": "all"}).same
    found = onnx.plain_load(PATH, {"optimization": "basic"})
    assert (found.same, found.options) == (False, {"graph_optimization_level": "ORT_ENABLE_BASIC"})


def test_an_engine_says_whether_it_was_built_with_tf32() -> None:
    assert "without TF32" in tensorrt.plain_load(PATH, {"tf32": False}).sentence
    assert "with TF32" in tensorrt.plain_load(PATH, {"tf32": True}).sentence


def test_a_package_that_was_bound_to_a_unit_says_so() -> None:
    assert coreml.plain_load(PATH, {"mode": "float32", "compute_units": "ALL"}).same
    found = coreml.plain_load(PATH, {"mode": "typed", "compute_units": "CPU_ONLY"})
    assert (found.same, found.options) == (False, {"computeUnits": ".cpuOnly"})


def test_openvino_needs_its_hint_on_every_machine(openvino_bundle: Bundle) -> None:
    said = openvino_bundle.manifest.plain_load
    assert said is not None
    assert said["options"] == {"INFERENCE_PRECISION_HINT": "f32"}
    assert said["same"] is False
    assert "set INFERENCE_PRECISION_HINT: f32 for what was proved" in said["sentence"]
    assert said["sentence"] in (openvino_bundle.path / "report.md").read_text()


def test_no_mark_of_the_ir_sets_the_hint(openvino_bundle: Bundle) -> None:
    from openvino import Core

    model = Core().read_model(openvino_bundle.path / "model.xml")
    model.set_rt_info("ACCURACY", ["runtime_options", "EXECUTION_MODE_HINT"])
    marked = Core().compile_model(model, "CPU").get_property("EXECUTION_MODE_HINT")
    asked = Core().compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"}).get_property("EXECUTION_MODE_HINT")
    assert marked != asked, "OpenVINO now reads the mark: have the IR carry it"


@pytest.mark.parametrize(("told", "chooses"), [(["FP32", "INT8"], False), (["FP32", "BF16"], True), (["FP16"], True)])
def test_what_a_device_may_choose_is_asked_of_it(
    told: list[str], chooses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "capabilities", lambda device: tuple(told))
    assert plain.capable("CPU") is chooses


class _InBfloat16:
    """The session of a processor with AMX: the hint decides whether answers are rounded."""

    def __init__(self, path: Path, settings: dict[str, object]) -> None:
        config = {**settings["config"], "INFERENCE_PRECISION_HINT": "f32"}  # type: ignore[dict-item]
        self._session = SESSION(path, {**settings, "config": config})  # a real AMX must not round a second time
        self._rounds = "INFERENCE_PRECISION_HINT" not in settings["config"]  # type: ignore[operator]
        self.evaluator = "OpenVINO as on AMX"

    def run(self, feeds: Feeds) -> Outputs:
        outputs = self._session.run(feeds)
        if not self._rounds:
            return outputs
        return {name: np.asarray(value) * np.float32(1 + HALF_STEP) for name, value in outputs.items()}


SESSION = openvino.Session


def test_a_processor_with_bfloat16_measures_the_plain_load_and_says_its_error(
    openvino_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def chosen(path: Path, settings: dict[str, object]) -> tuple[str, ...]:
        return ("float32",) if "INFERENCE_PRECISION_HINT" in settings["config"] else ("bfloat16",)  # type: ignore[operator]

    monkeypatch.setattr(plain, "capabilities", lambda device: ("FP32", "BF16"))
    monkeypatch.setattr(plain, "_types", chosen)
    monkeypatch.setattr(openvino, "Session", _InBfloat16)
    with caplog.at_level(logging.WARNING):
        assert verify(openvino_bundle.path).passed
    largest = max(float(np.abs(value).max()) for value in store.golden(openvino_bundle).exact.values())
    assert f"computes in bfloat16: error {largest * HALF_STEP:.1e}, BEYOND" in caplog.text


def test_what_is_not_measured_says_no_error() -> None:
    told = PlainLoad("load()", False, {"a": "b"}, "it chooses", ("float32",), ("float32",))
    assert not told.differs_here
    assert told.sentence == (
        "plain load load(): it chooses; set a: b for what was proved (on this machine it computes in float32)"
    )
