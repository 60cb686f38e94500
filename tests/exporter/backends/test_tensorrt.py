"""Engines are really built, on the CPU by TensorRT for RTX; running them needs an NVIDIA GPU."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slide_export import backends, onnx_graph
from slide_export.backends import tensorrt
from slide_export.calibration.half import to_half
from slide_export.errors import BackendUnavailable, BundleError, LoweringError, RequestError
from slide_export.types import Artifact, Interface, OnnxGraph, Order

CHANNELS, SIDE = 64, 8
HALF_STEP = 2.0**-10  # of an output near 1: a few float16 roundings
FULL_STEP = 1e-5  # float32 sums in another order, TF32 off

builds = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: no engine is built"
)


def runs() -> Any:
    """Returns the marker of tests that need a GPU."""
    reason = "tensorrt_rtx is not installed" if not importlib.util.find_spec("tensorrt_rtx") else tensorrt.obstacle()
    return pytest.mark.skipif(reason is not None, reason=str(reason))


def graph(
    batch: int | str = "batch", nodes: Sequence[onnx.NodeProto] = (), weights: dict[str, NDArray[Any]] | None = None
) -> OnnxGraph:
    """Returns a convolution, a softmax over its channels and a product, or other nodes."""
    made = np.random.default_rng(0)
    weights = weights or {
        "w": made.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32),
        "v": made.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32),
    }
    nodes = nodes or (
        helper.make_node("Conv", ["images", "w"], ["a"], name="/first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["a"], ["p"], name="/Softmax", axis=1),
        helper.make_node("Conv", ["p", "v"], ["logits"], name="/second/Conv"),
    )
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", onnx_graph.OPSET)],
        ir_version=8,
    )
    proto = onnx.shape_inference.infer_shapes(proto)
    return OnnxGraph(proto, onnx_graph._specs(proto.graph.input), onnx_graph._specs(proto.graph.output))


def lower(source: OnnxGraph, directory: Path, precision: str = "fp32", **options: str) -> Artifact:
    chosen = backends.complete_options("tensorrt", {"flavor": "rtx", **options})
    return tensorrt.lower(source, directory, Order(precision, Interface(), chosen))


def sidecar(artifact: Artifact) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(artifact.path.with_name(tensorrt.SIDECAR).read_text())
    return read


@builds
def test_the_plan_is_bare_and_its_graph_beside_it(tmp_path: Path) -> None:
    source = graph()
    artifact = lower(source, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.plan", "model.plan.json"]
    assert artifact.path.read_bytes()[:4] == b"vtrt"  # the header of tensorrt_rtx itself, nothing of ours before it
    assert (tmp_path / "model.onnx").read_bytes() == source.proto.SerializeToString(deterministic=True)
    assert artifact.settings == {"flavor": "rtx", "tf32": False}
    assert artifact.graph == tmp_path / "model.onnx"


@builds
def test_the_sidecar_says_what_was_built(tmp_path: Path) -> None:
    import tensorrt_rtx

    artifact = lower(graph(), tmp_path, opt_batch="4", max_batch="6", compute_capability="86, 89")
    said = sidecar(artifact)
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
def test_float16_is_what_the_network_is_typed_in_and_halves_the_weights(tmp_path: Path) -> None:
    made = {}
    for precision, source in (("fp32", graph()), ("fp16", to_half(graph()))):
        (tmp_path / precision).mkdir()
        made[precision] = lower(source, tmp_path / precision, precision)
    full, half = (sidecar(artifact) for artifact in made.values())
    assert "half" not in full["layers"]["by_type"]
    assert half["layers"]["by_type"]["half"] >= 2  # the convolutions; the softmax is in float32
    assert half["layers"]["by_type"]["float"] >= 1
    assert half["memory"]["weights_bytes"] < 0.6 * full["memory"]["weights_bytes"]
    counted = tensorrt.census(made["fp16"].path, made["fp16"].settings)
    assert dict(counted.computed) == {"float16": 2}
    assert set(counted.stored) == {"float16"}
    assert dict(tensorrt.census(made["fp32"].path, {}).computed) == {"float32": 2}


@builds
def test_a_fixed_batch_has_no_profile(tmp_path: Path) -> None:
    assert sidecar(lower(graph(2), tmp_path, max_batch="8"))["profile"] == {}


@builds
def test_progress_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=tensorrt.log.name):
        lower(graph(), tmp_path)
    assert any(message.startswith("Building engine (") for message in caplog.messages)


@builds
def test_a_rebuild_takes_the_recipe_and_refuses_another_graph(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path, max_batch="3")
    before = sidecar(artifact)
    artifact.path.unlink()
    tensorrt.rebuild(tmp_path)
    assert {**sidecar(artifact), "plan": None} == {**before, "plan": None}
    (tmp_path / "model.onnx").write_bytes(graph(2).proto.SerializeToString())
    with pytest.raises(BundleError, match=r"expected the graph that .* was altered"):
        tensorrt.rebuild(tmp_path)


@builds
def test_the_rebuild_command_of_the_sidecar_works(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path)
    artifact.path.unlink()
    command = sidecar(artifact)["rebuild"].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert artifact.path.exists()


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


@builds
@pytest.mark.parametrize("part", ["model.plan", "model.onnx"])
def test_an_altered_file_is_refused(tmp_path: Path, part: str) -> None:
    artifact = lower(graph(), tmp_path)
    data = bytearray((tmp_path / part).read_bytes())
    data[-1] ^= 1
    (tmp_path / part).write_bytes(data)
    with pytest.raises(BundleError, match="was altered"):
        tensorrt.census(artifact.path, artifact.settings)
    if part == "model.plan":
        with pytest.raises(BundleError, match="was altered"):
            tensorrt.Session(artifact.path, artifact.settings)


@builds
def test_a_plan_without_its_sidecar_is_refused(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path)
    artifact.path.with_name(tensorrt.SIDECAR).unlink()
    with pytest.raises(BundleError, match="expected the sidecar"):
        tensorrt.Session(artifact.path, artifact.settings)


@builds
@pytest.mark.skipif(tensorrt.obstacle() is None, reason="there is a GPU here")
def test_without_a_gpu_a_session_says_so_and_names_the_graph(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path)
    with pytest.raises(BackendUnavailable, match=r"expected an NVIDIA GPU .* run model\.onnx"):
        tensorrt.Session(artifact.path, artifact.settings)


@pytest.mark.gpu
@runs()
@pytest.mark.parametrize(("precision", "step"), [("fp32", FULL_STEP), ("fp16", HALF_STEP)])
def test_the_engine_equals_its_graph_on_a_gpu(tmp_path: Path, precision: str, step: float) -> None:
    import onnxruntime

    artifact = lower(to_half(graph()) if precision == "fp16" else graph(), tmp_path, precision)
    session = tensorrt.Session(artifact.path, artifact.settings)
    stands_in = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3, 8):
        feeds = {"images": np.random.default_rng(batch).normal(size=(batch, 3, SIDE, SIDE)).astype(np.float32)}
        (expected,) = stands_in.run(None, feeds)
        assert np.abs(session.run(feeds)["logits"] - expected).max() <= step * np.abs(expected).max()


@pytest.mark.gpu
@runs()
def test_a_batch_beyond_the_profile_is_refused_on_a_gpu(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path, max_batch="2")
    session = tensorrt.Session(artifact.path, artifact.settings)
    with pytest.raises(RequestError, match="within the profile"):
        session.run({"images": np.zeros((3, 3, SIDE, SIDE), np.float32)})


BUILT = {"flavor": "rtx", "version": "1.7.1", "compute_capabilities": ["8.6"]}


@pytest.mark.parametrize(
    ("version", "device", "errors", "reason"),
    [
        ("1.8.0", "8.6", [], "it was built by TensorRT RTX 1.7.1 and this is 1.8.0;"),
        ("1.7.1", "7.5", [], "for GPUs of compute capability 8.6 and this one has 7.5;"),
        ("1.7.1", "8.6", ["its header says malformed engine"], "does not: its header says malformed engine;"),
        ("1.7.1", "8.6", [], "no reason given"),
    ],
)
def test_a_misfit_has_a_human_reason(version: str, device: str, errors: list[str], reason: str) -> None:
    said = tensorrt.misfit(BUILT, version, device, errors)
    assert reason in said
    assert said.endswith(tensorrt.REBUILD)


def test_a_message_loses_its_call_sites() -> None:
    message = (
        "Invalid Node - n\nITensor::getDimensions: Error Code 4: API Usage Error (n: first input has type UInt8. "
        "In checkType at /_src/optimizer/nodeBase.cpp:456)\n[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda"
    )
    assert tensorrt.sentence(message) == "API Usage Error (n: first input has type UInt8)"


def test_no_gpu_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(Path, "exists", lambda *_: False)
    assert str(tensorrt.obstacle()).startswith("no NVIDIA GPU on this machine")


def test_a_torch_without_cuda_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter((Path("/dev/nvidia0"),)))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.13.0+cpu")
    assert "built without CUDA" in str(tensorrt.obstacle())


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensorrt, "_installed", lambda _: None)
    with pytest.raises(BackendUnavailable, match="pip install tensorrt_rtx_cu13"):
        lower(graph(), tmp_path, flavor="auto")


def test_importing_the_backend_imports_no_vendor() -> None:
    check = (
        "import sys; import slide_export.backends.tensorrt; print(sorted({'torch', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
