"""The process that runs artifacts, asked line by line: what it answers, and what it says of a question too early."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends import registry
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BundleError
from slide_export.verification.runner import SAID, Runner, answer


def job(bundle: Bundle) -> dict[str, Any]:
    return {"target": "onnx", "path": str(bundle.path / "model.onnx"), "graph": None, "settings": {}}


def told(*questions: dict[str, Any]) -> list[dict[str, Any]]:
    answers = io.StringIO()
    answer(io.StringIO("".join(json.dumps(one) + "\n" for one in questions)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def batch(bundle: Bundle, directory: Path) -> dict[str, str]:
    """A question about the golden images, in files."""
    np.savez(directory / "inputs.npz", **store.golden(bundle).feeds)
    return {"run": str(directory / "inputs.npz"), "outputs": str(directory / "outputs.npz")}


def test_outputs_are_those_of_the_session(onnx_bundle: Bundle, tmp_path: Path) -> None:
    opened, ran = told({"open": job(onnx_bundle)}, batch(onnx_bundle, tmp_path))
    session = registry.load("onnx").Session(onnx_bundle.path / "model.onnx", {})
    assert opened["evaluator"] == session.evaluator
    assert opened["census"]["computed"] == dict(onnx_bundle.manifest.dtype_stats.computed)
    assert ran == {"outputs": ["logits"]}
    expected = session.run(store.golden(onnx_bundle).feeds)["logits"]
    assert np.array_equal(np.load(tmp_path / "outputs.npz")["logits"], expected)


def test_values_are_listed_and_shown_on_demand(onnx_bundle: Bundle, tmp_path: Path) -> None:
    (looked,) = told({"look": job(onnx_bundle)})
    name = looked["values"][3][0]
    *_, ran = told({"look": job(onnx_bundle)}, {"show": [name]}, batch(onnx_bundle, tmp_path))
    assert name in ran["outputs"]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"run": "a", "outputs": "b"}, "an opened artifact"),
        ({"run": "a", "outputs": "b", "plain": True}, "an opened artifact"),
        ({"run": "a", "outputs": "b", "orders": True}, "an opened artifact"),
        ({"orders": ["attn.rounds.0"]}, "an opened artifact"),
        ({"show": ["a"]}, "an artifact that was looked into"),
    ],
)
def test_a_question_too_early_is_refused_and_the_process_goes_on(question: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        Runner().tell(question)
    refused, plain = told(question, {"plain": True})
    assert refused == {"error": f"expected {sentence}, found none", "kind": "BundleError"}
    assert plain == {"plain": None, "loaded": False}


def test_another_artifact_takes_the_place_of_the_one_before(onnx_bundle: Bundle, tmp_path: Path) -> None:
    """One that cannot be opened leaves none behind: nothing of the one before answers for it."""
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    damaged = {**job(onnx_bundle), "path": str(tmp_path / "model.onnx")}
    _, refused, ran = told({"open": job(onnx_bundle)}, {"open": damaged}, batch(onnx_bundle, tmp_path))
    assert refused["kind"] == "BundleError"
    assert ran["error"] == "expected an opened artifact, found none"


def test_a_runtimes_own_words_are_cut_and_its_error_is_a_bundles(
    onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("y" * 10 * SAID)

    monkeypatch.setattr(registry.load("onnx"), "Session", fail)
    (refused,) = told({"open": job(onnx_bundle)})
    assert refused["kind"] == "BundleError"
    assert "its runtime takes, it says ZeroDivisionError: yyy" in refused["error"]
    assert SAID - 10 <= refused["error"].count("y") <= SAID + 10
