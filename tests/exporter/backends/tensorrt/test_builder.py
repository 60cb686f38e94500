"""Engines are really built, on the CPU by TensorRT for RTX."""

import logging
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from slide_export.backends.tensorrt import builder
from slide_export.core.errors import LoweringError, RequestError
from tests.exporter.backends.tensorrt.conftest import SIDE, builds, graph, lower, said_of


@builds
def test_the_sidecar_says_what_was_built(tmp_path: Path) -> None:
    import tensorrt_rtx

    artifact = lower(graph(), tmp_path, opt_batch="4", max_batch="6", compute_capability="86, 89")
    said = said_of(artifact)
    assert (said["flavor"], said["version"]) == ("rtx", tensorrt_rtx.__version__)
    assert said["profile"] == {
        "images": {"min": [1, 3, SIDE, SIDE], "opt": [4, 3, SIDE, SIDE], "max": [6, 3, SIDE, SIDE]}
    }
    assert said["compute_capabilities"] == ["8.6", "8.9"]
    assert said["plan"]["bytes"] == artifact.path.stat().st_size
    assert said["memory"]["activation_bytes"] > 0
    assert said["layers"]["count"] >= len(graph().proto.graph.node)
    assert said["strongly_typed"]
    assert said["options"]["tf32"] == "off"


@builds
def test_a_fixed_batch_has_no_profile(tmp_path: Path) -> None:
    assert said_of(lower(graph(2), tmp_path, max_batch="8"))["profile"] == {}


@builds
def test_progress_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=builder.log.name):
        lower(graph(), tmp_path)
    assert any(message.startswith("Building engine (") for message in caplog.messages)


@builds
def test_a_refused_operator_is_one_sentence(tmp_path: Path) -> None:
    source = graph(nodes=[helper.make_node("Det", ["images"], ["logits"], name="/layers.0/Det")])
    with pytest.raises(LoweringError) as caught:
        lower(source, tmp_path)
    expected = r"expected a graph for TensorRT RTX \S+, its parser stops at Det /layers.0/Det: it does not have this op"
    assert caught.match(expected)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.plan").exists()


@builds
def test_mixed_types_are_refused_with_the_parsers_reason(tmp_path: Path) -> None:
    half = {"w": np.ones((1, 3, SIDE, SIDE), np.float16)}
    source = graph(1, [helper.make_node("Add", ["images", "w"], ["logits"], name="/Add")], half)
    with pytest.raises(
        LoweringError, match=r"must have same input types\. But they are of types Float and Half"
    ) as caught:
        lower(source, tmp_path)
    assert "\n" not in str(caught.value)
    assert "catchCudaError" not in str(caught.value)


@builds
def test_what_the_builder_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match=r"builder says: .*workspace") as caught:
        lower(graph(), tmp_path, workspace_mib="1")
    assert "\n" not in str(caught.value)


@builds
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"min_batch": "0"}, "min_batch to be a whole number"),
        ({"max_batch": "many"}, "max_batch to be a whole number"),
        ({"workspace_mib": "-1"}, "workspace_mib to be a whole number"),
        ({"opt_batch": "4", "max_batch": "2"}, "min_batch <= opt_batch <= max_batch, found 1, 4, 2"),
        ({"hardware": "ampere_plus"}, "no hardware for TensorRT RTX"),
        ({"timing_cache": "times"}, "no timing_cache for TensorRT RTX"),
        ({"compute_capability": "86,10"}, "compute_capability of 75, .*; found 10"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(tmp_path: Path, options: dict[str, str], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        lower(graph(), tmp_path, **options)
