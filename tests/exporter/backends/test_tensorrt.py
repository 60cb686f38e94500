"""Engines are really built, on the CPU by TensorRT for RTX; running them needs an NVIDIA GPU."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from slide_export.backends import tensorrt
from slide_export.calibration.fp16 import to_half
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import bundled
from slide_export.calibration.quantizers import quantize
from slide_export.calibration.recipe import default
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError, RequestError
from slide_export.core.model import Model
from slide_export.core.precision import BF16
from slide_export.graph.export import export
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form, serve
from slide_export.proof.precision import satisfies
from slide_export.proof.stored import compare
from tests.exporter.backends.tensorrt.conftest import SIDE, builds, graph, lower, said_of

HALF_STEP = 2.0**-10  # of an output near 1: a few float16 roundings
FULL_STEP = 1e-5  # float32 sums in another order, TF32 off


def runs() -> Any:
    """The marker of tests that need a GPU."""
    reason = (
        "tensorrt_rtx is not installed"
        if not importlib.util.find_spec("tensorrt_rtx")
        else tensorrt.unavailable_reason()
    )
    return pytest.mark.skipif(reason is not None, reason=str(reason))


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
def test_float16_is_what_the_network_is_typed_in_and_halves_the_weights(tmp_path: Path) -> None:
    made = {}
    for precision, source in (("fp32", graph()), ("fp16", to_half(graph()))):
        (tmp_path / precision).mkdir()
        made[precision] = lower(source, tmp_path / precision, precision)
    full, half = (said_of(artifact) for artifact in made.values())
    assert "half" not in full["layers"]["by_type"]
    assert half["layers"]["by_type"]["half"] >= 2  # the convolutions; the softmax is in float32
    assert half["layers"]["by_type"]["float"] >= 1
    assert half["memory"]["weights_bytes"] < 0.6 * full["memory"]["weights_bytes"]
    counted = tensorrt.dtype_stats(made["fp16"].path, made["fp16"].settings)
    assert dict(counted.computed) == {"float16": 2}
    assert set(counted.stored) == {"float16"}
    assert dict(tensorrt.dtype_stats(made["fp32"].path, {}).computed) == {"float32": 2}


@builds
def test_bfloat16_is_what_the_network_is_typed_in_and_halves_the_weights(tmp_path: Path) -> None:
    for name in ("fp32", "bf16"):
        (tmp_path / name).mkdir()
    full = lower(graph(), tmp_path / "fp32")
    made = lower(to_half(graph(), precision=BF16), tmp_path / "bf16", "bf16")
    said = said_of(made)
    assert said["layers"]["by_type"]["bf16"] >= 2  # the convolutions; the softmax is in float32
    assert said["memory"]["weights_bytes"] < 0.6 * said_of(full)["memory"]["weights_bytes"]
    counted = tensorrt.dtype_stats(made.path, made.settings)
    assert dict(counted.computed) == {"bfloat16": 2}
    assert set(counted.stored) == {"bfloat16"}
    assert satisfies(counted, BF16)
    build = tuple(tensorrt.stored(full.path, full.settings))
    assert compare(build, tensorrt.stored(made.path, made.settings)).passed
    off = to_half(graph(), precision=BF16)
    weight = max(off.proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = bytes([weight.raw_data[0] ^ 4]) + weight.raw_data[1:]  # four steps of the type
    (tmp_path / "off").mkdir()
    altered = lower(off, tmp_path / "off", "bf16")
    assert not compare(build, tensorrt.stored(altered.path, altered.settings)).passed


def test_bfloat16_is_refused_where_nothing_can_prove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "unavailable_reason", lambda: "no NVIDIA GPU on this machine")
    assert "no NVIDIA GPU" in str(tensorrt.precision_obstacle("bf16"))
    assert tensorrt.precision_obstacle("fp16") is None
    monkeypatch.setattr(tensorrt, "unavailable_reason", lambda: None)
    assert tensorrt.precision_obstacle("bf16") is None


@builds
def test_a_rebuild_takes_the_recipe_and_refuses_another_graph(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path, max_batch="3")
    before = said_of(artifact)
    artifact.path.unlink()
    tensorrt.rebuild(tmp_path)
    assert {**said_of(artifact), "plan": None} == {**before, "plan": None}
    (tmp_path / "model.onnx").write_bytes(graph(2).proto.SerializeToString())
    with pytest.raises(BundleError, match=r"expected the graph that .* was altered"):
        tensorrt.rebuild(tmp_path)


@builds
def test_the_rebuild_command_of_the_sidecar_works(tmp_path: Path) -> None:
    artifact = lower(graph(), tmp_path)
    artifact.path.unlink()
    command = said_of(artifact)["rebuild"].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert artifact.path.exists()


@builds
@pytest.mark.skipif(tensorrt.unavailable_reason() is None, reason="there is a GPU here")
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


def test_no_gpu_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(Path, "exists", lambda *_: False)
    assert str(tensorrt.unavailable_reason()).startswith("no NVIDIA GPU on this machine")


def test_a_torch_without_cuda_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter((Path("/dev/nvidia0"),)))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.13.0+cpu")
    assert "built without CUDA" in str(tensorrt.unavailable_reason())


def test_importing_the_backend_imports_no_vendor() -> None:
    check = (
        "import sys; import slide_export.backends.tensorrt; print(sorted({'torch', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@builds
def test_the_quantized_and_the_half_graph_each_build_an_engine(model: Model, tmp_path: Path) -> None:
    half, whole = (export(in_form(choose(fuse(model), "grouped"), ModelIO())) for _ in range(2))
    pictures = cached(bundled(), PictureStore(model.data, model.image_size))
    fed, recipe = FedImages(pictures, serve(model, ModelIO()).feeds), default("tensorrt", "int8")
    graphs = {"fp16": to_half(half), "int8": quantize(whole, fed, recipe)}
    for precision, source in graphs.items():
        (tmp_path / precision).mkdir()
        artifact = lower(source, tmp_path / precision, precision)
        assert artifact.path.stat().st_size > 100_000
        assert satisfies(tensorrt.dtype_stats(artifact.path, artifact.settings), artifact.precision)
    assert not any(tensor.data_type == TensorProto.INT32 for tensor in graphs["int8"].proto.graph.initializer)
    assert dict(tensorrt.dtype_stats(tmp_path / "int8" / "model.plan", {}).computed)["int8"] == 29


@builds
def test_quantized_biases_are_what_the_parser_refuses(model: Model, tmp_path: Path) -> None:
    pictures = cached(bundled(), PictureStore(model.data, model.image_size))
    fed, recipe = (
        FedImages(pictures, serve(model, ModelIO()).feeds),
        replace(default("tensorrt", "int8"), quantize_bias=True),
    )
    with pytest.raises(LoweringError, match=r"bias_DequantizeLinear"):
        lower(quantize(export(in_form(choose(fuse(model), "grouped"), ModelIO())), fed, recipe), tmp_path, "int8")
