"""A load without settings is measured where it computes otherwise than the proof, and said to be so."""

import logging
import math
from collections.abc import Iterator, Sequence
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
from slide_export.core.proof import Reference
from slide_export.proof import ordering, plain_load
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


class _Off:
    """A session whose outputs stand off the reference's by a number each; NaN is one."""

    evaluator = "off"

    def __init__(self, exact: Outputs, off: dict[str, float]) -> None:
        self._answers = {name: value.astype(np.float32) + np.float32(off[name]) for name, value in exact.items()}

    def run(self, _feeds: Feeds) -> Outputs:
        return self._answers


TOLD = PlainLoad("load()", False, {"a": "b"}, "it chooses", ("bfloat16",), FLOAT)


def _reference() -> Reference:
    # The floor of the first output is a thousand times that of the second.
    rng = np.random.default_rng(0)
    exact = {"coarse": rng.normal(size=(4, 5)), "fine": rng.normal(size=(4, 5))}
    rounded = {"coarse": exact["coarse"] + 1e-2, "fine": exact["fine"] + 1e-5}
    return Reference("noise", tuple("abcd"), {"images": np.zeros((4, 1), np.float32)}, exact, rounded)


@pytest.mark.parametrize(
    ("off", "worst"),
    [
        ({"coarse": 5e-3, "fine": 1e-3}, "fine"),  # the smaller error, far beyond its limit
        ({"coarse": 5e-1, "fine": 1e-6}, "coarse"),
        ({"coarse": 5e-1, "fine": math.nan}, "fine"),
        ({"coarse": math.nan, "fine": 1e-3}, "coarse"),
    ],
)
def test_the_output_furthest_beyond_its_own_limit_is_the_one_told(
    off: dict[str, float], worst: str, openvino_bundle: Bundle
) -> None:
    reference = _reference()
    session = _Off(reference.exact, off)
    measured = plain_load.measure(
        plain_load.OpenedPlain(TOLD, session), reference, 4, openvino_bundle.manifest.parity, None
    )
    assert measured.passed is False
    assert measured.evaluator == "off"
    assert measured.max_abs == pytest.approx(off[worst], rel=1e-2, nan_ok=True)


def test_a_load_that_nothing_runs_here_is_told_alone(openvino_bundle: Bundle) -> None:
    opened = plain_load.OpenedPlain(TOLD)
    assert plain_load.measure(opened, _reference(), 4, openvino_bundle.manifest.parity, None) is TOLD


@pytest.mark.parametrize("readable", [True, False])
def test_a_sorting_model_is_compared_under_the_orders_of_the_plain_load(
    readable: bool, openvino_bundle: Bundle
) -> None:
    def orders(_shown: Sequence[str]) -> _Off:
        raise AssertionError("opened")

    asked: list[object] = []

    def sorts(given: object) -> ordering.Ordering | None:
        asked.append(given)
        return None

    reference = _reference()
    opened = plain_load.OpenedPlain(
        TOLD, _Off(reference.exact, {"coarse": 0.0, "fine": 0.0}), orders if readable else None
    )
    plain_load.measure(opened, reference, 4, openvino_bundle.manifest.parity, None, sorts)
    assert asked == ([orders] if readable else [])


@pytest.mark.parametrize(
    ("told", "reason", "found"),
    [
        (None, None, None),
        (None, "it is not installed", None),
        (PlainLoad("load()", True, {}, "", FLOAT, FLOAT), None, "told"),
        (TOLD, "it is not installed", "told"),
        (TOLD, None, "opened"),
    ],
)
def test_only_what_computes_otherwise_and_can_run_here_is_opened(
    told: PlainLoad | None, reason: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "plain_load", lambda *_given: told)
    monkeypatch.setattr(optional, "unavailable_reason", lambda _backend: reason)
    monkeypatch.setattr(openvino, "Session", lambda *_given: _Off({}, {}))
    opened = plain_load.load(openvino, PATH, {}, FLOAT)
    if opened is None:
        assert found is None
    else:
        assert opened.told is told
        assert (opened.session is not None, opened.orders is not None) == (found == "opened", found == "opened")


def test_what_is_not_measured_says_no_error() -> None:
    told = PlainLoad("load()", False, {"a": "b"}, "it chooses", ("float32",), ("float32",))
    assert not told.differs_here
    assert told.sentence == (
        "plain load load(): it chooses; set a: b for what was proved (on this machine it computes in float32)"
    )
