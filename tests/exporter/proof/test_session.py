"""An artifact that cannot run here is stood for by its graph, and the evaluator says so."""

import numpy as np
import pytest

from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.proof.session import look_inside, open_session
from slide_export.verification.opening import artifact_of

REASON = "no such processor here"


def test_the_graph_runs_in_the_artifacts_place(onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, path, _, settings = artifact_of(onnx_bundle)
    golden = store.golden(onnx_bundle)
    plain = open_session(backend, path, path, settings)
    monkeypatch.setattr(backend, "unavailable_reason", lambda: REASON, raising=False)
    session = open_session(backend, path, path, settings)
    assert session.evaluator.endswith(f"the artifact has not run: {REASON}")
    assert REASON not in plain.evaluator
    for name, value in plain.run(golden.feeds).items():
        assert np.array_equal(session.run(golden.feeds)[name], value)  # the same graph under the same runtime


def test_without_a_graph_the_artifact_itself_is_tried(onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, path, _, settings = artifact_of(onnx_bundle)
    monkeypatch.setattr(backend, "unavailable_reason", lambda: REASON, raising=False)
    assert REASON not in open_session(backend, path, None, settings).evaluator


def test_the_graphs_values_are_shown_in_the_artifacts_place(
    onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, path, _, settings = artifact_of(onnx_bundle)
    monkeypatch.setattr(backend, "unavailable_reason", lambda: REASON, raising=False)
    inside = look_inside(backend, path, path, settings)
    session = inside.open((inside.values[0].name,))
    assert session.evaluator.endswith(REASON)
    assert inside.values[0].name in session.run(store.golden(onnx_bundle).feeds)
