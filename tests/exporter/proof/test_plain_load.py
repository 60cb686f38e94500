"""A load without settings is measured where it computes otherwise than the proof, and said to be so."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends import coreml, onnx, openvino, optional, tensorrt
from slide_export.backends.openvino import plain
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.markdown import plain as plain_text
from slide_export.core.plain_load import PlainLoad
from slide_export.core.progress import Progress
from slide_export.proof import plain_load
from slide_export.verification.bundle import verify
from slide_export.verification.opening import OpenedArtifact, artifact_of

PATH, FLOAT = Path("model.xml"), ("float32",)
HINT = "INFERENCE_PRECISION_HINT"
HALF_STEP = 2.0**-9  # of bfloat16: its relative rounding


def test_onnx_runtime_computes_what_the_graph_says() -> None:
    assert onnx.plain_load(PATH, {"optimization": "all"}, FLOAT).same
    found = onnx.plain_load(PATH, {"optimization": "basic"}, FLOAT)
    assert (found.same, found.options) == (False, {"graph_optimization_level": "ORT_ENABLE_BASIC"})


def test_an_engine_says_whether_it_was_built_with_tf32() -> None:
    assert "without TF32" in tensorrt.plain_load(PATH, {"tf32": False}, FLOAT).sentence
    assert "with TF32" in tensorrt.plain_load(PATH, {"tf32": True}, FLOAT).sentence


def test_a_package_that_was_bound_to_a_unit_says_so() -> None:
    assert coreml.plain_load(PATH, {"mode": "float32", "compute_units": "ALL"}, FLOAT).same
    found = coreml.plain_load(PATH, {"mode": "typed", "compute_units": "CPU_ONLY"}, FLOAT)
    assert (found.same, found.options) == (False, {"computeUnits": ".cpuOnly"})


def test_openvino_needs_its_hint_on_every_machine(openvino_bundle: Bundle) -> None:
    said = openvino_bundle.manifest.plain_load
    assert said is not None
    assert said.options == {"INFERENCE_PRECISION_HINT": "f32"}
    assert said.same is False
    assert "set INFERENCE_PRECISION_HINT: f32 for what was proved" in said.sentence
    assert plain_text(said.sentence) in (openvino_bundle.path / "report.md").read_text()


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
        config: dict[str, str] = settings["config"]  # type: ignore[assignment]
        self._rounds = HINT not in config
        self._session = SESSION(path, {**settings, "config": {**config, HINT: "f32"}})  # here too where this is AMX
        self.evaluator = "OpenVINO as on AMX"

    def run(self, feeds: Feeds) -> Outputs:
        outputs = self._session.run(feeds)
        if not self._rounds:
            return outputs
        return {name: np.asarray(value) * np.float32(1 + HALF_STEP) for name, value in outputs.items()}


SESSION = openvino.Session


@contextmanager
def in_this_process(made: Bundle, _step: Progress) -> Iterator[OpenedArtifact]:
    """A bundle's artifact where a test can exchange what the runtime says."""
    backend, path, _, settings = artifact_of(made)
    census = optional.dtype_stats(backend, path, settings)
    load = partial(plain_load.load, backend, path, settings, census.computed)
    yield OpenedArtifact(backend.Session(path, settings), census, load)


def test_a_processor_with_bfloat16_measures_the_plain_load_and_says_its_error(
    openvino_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plain, "capabilities", lambda device: ("FP32", "BF16"))
    monkeypatch.setattr(plain, "computed_in", lambda *_: ("bfloat16",))
    monkeypatch.setattr(openvino, "Session", _InBfloat16)
    with caplog.at_level(logging.WARNING):
        assert verify(openvino_bundle.path, opening=in_this_process).passed
    largest = max(float(np.abs(value).max()) for value in store.golden(openvino_bundle).exact.values())
    assert f"computes in bfloat16: error {largest * HALF_STEP:.1e}, BEYOND" in caplog.text


def test_where_a_device_has_no_choice_nothing_is_compiled_to_see(
    openvino_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "capabilities", lambda device: ("FP32", "INT8"))
    monkeypatch.setattr(plain, "computed_in", None)
    backend, path, _, settings = artifact_of(openvino_bundle)
    told = optional.plain_load(backend, path, settings, FLOAT)
    assert told is not None
    assert (told.computed, told.differs_here) == (FLOAT, False)


def test_the_plain_load_of_this_processor_is_measured_where_it_has_bfloat16(openvino_bundle: Bundle) -> None:
    backend, path, _, settings = artifact_of(openvino_bundle)
    opened = plain_load.load(backend, path, settings, FLOAT)
    assert opened is not None
    assert (opened.session is not None) is plain.capable("CPU")
    said = openvino_bundle.manifest.plain_load
    assert said is not None
    assert said.computed == opened.told.computed
    if opened.session is None:
        assert (said.max_abs, said.passed) == (None, None)
    else:
        proved = openvino_bundle.manifest.parity.outputs[0]
        assert said.computed == ("bfloat16",)
        assert said.max_abs is not None
        assert said.max_abs > proved.max_abs  # eight bits of a mantissa instead of 24
        assert f"error {said.max_abs:.1e}" in said.sentence


def test_what_is_not_measured_says_no_error() -> None:
    told = PlainLoad("load()", False, {"a": "b"}, "it chooses", ("float32",), ("float32",))
    assert not told.differs_here
    assert told.sentence == (
        "plain load load(): it chooses; set a: b for what was proved (on this machine it computes in float32)"
    )
