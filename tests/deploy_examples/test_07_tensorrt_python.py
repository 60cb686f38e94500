"""The Python program for an NVIDIA GPU: its engine is really built; what needs a GPU runs on a stand-in for one.

The stand-in is host memory in the place of the GPU's and ONNX Runtime in the place of the engine, behind the functions
of the CUDA runtime that the program calls, called as their own signatures say. So addresses, sizes, shapes, the proof
and the result are tested; that the GPU gives the same answers is not.
"""

import ast
import ctypes
import importlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from slide_export.backends import tensorrt
from slide_export.benchmark import result_file as result
from slide_export.core.measurement import ArtifactTiming, Environment
from tests.bundles import as_schema_1
from tests.deploy_examples.conftest import EXAMPLES

SOURCE = EXAMPLES / "07_tensorrt_python"
MODULES = ("engine", "proof", "bench")
DERIVED = {"p50_ms", "p90_ms", "p99_ms", "images_per_s"}  # of a run, computed on reading

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: no engine is built")
cudart = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")


def bench(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, SOURCE / "bench.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_engine_is_built_without_a_gpu(tensorrt_bundle: Path, tmp_path: Path) -> None:
    done = bench(tensorrt_bundle, "--build-only", "--batch", "2,4", "--plan", tmp_path / "model.plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"built an engine of \d+\.\d MiB with TensorRT for RTX 1\.\S+\n", done.stdout)
    assert (tmp_path / "model.plan").read_bytes()[:4] == b"vtrt"


@pytest.mark.skipif(tensorrt.unavailable_reason() is None, reason="there is a GPU here")
def test_without_a_gpu_nothing_is_built_and_it_says_so(tensorrt_bundle: Path, tmp_path: Path) -> None:
    done = bench(tensorrt_bundle, "--plan", tmp_path / "model.plan")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: expected an NVIDIA GPU, found none: the driver says cudaError")
    assert not list(tmp_path.iterdir())


def test_wrong_input_is_refused_in_one_sentence(tensorrt_bundle: Path, onnx_bundle: Path, tmp_path: Path) -> None:
    wrong: tuple[tuple[list[str | Path], str], ...] = (
        ([tmp_path], f"error: expected a bundle of slide-export at {tmp_path}"),
        ([onnx_bundle], f"error: expected a bundle for tensorrt, {onnx_bundle} is for onnx"),
        ([tensorrt_bundle, "--timing-cache", "x"], "error: expected TensorRT for --timing-cache"),
        (
            [tensorrt_bundle, "--batch", "1,0"],
            "bench.py: error: argument --batch: expected a number from 1 on, found '0'",
        ),
        ([tensorrt_bundle, "--build-only", "--plan", tmp_path / "no" / "plan"], "error: [Errno 2] No such file"),
    )
    for arguments, expected in wrong:
        done = bench(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].startswith(expected)


class StandInCuda:
    """The functions of the CUDA runtime that the program calls, on host memory."""

    def __init__(self) -> None:
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.events: dict[int, float] = {}
        self.cudaMemcpyKind = cudart.cudaMemcpyKind

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not callable(found) or not name.startswith("cuda") or isinstance(found, type):
            return found
        (signature,) = re.findall(rf"^{name}\((.*)\)", getattr(cudart, name).__doc__, flags=re.MULTILINE)
        expected = len([part for part in signature.split(",") if part.strip()])

        def call(*arguments: Any) -> tuple[Any, ...]:
            assert len(arguments) == expected, f"{name}({signature})"
            return cudart.cudaError_t.cudaSuccess, *found(*arguments)

        return call

    def cudaGetDeviceCount(self) -> tuple[int]:  # noqa: N802
        return (1,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any]:  # noqa: N802
        return (SimpleNamespace(name=b"stand-in\0\0"),)

    def cudaStreamCreate(self) -> tuple[Any]:  # noqa: N802
        return (cudart.cudaStream_t(7),)

    def cudaEventCreate(self) -> tuple[int]:  # noqa: N802
        self.events[len(self.events)] = 0.0
        return (len(self.events) - 1,)

    def cudaEventRecord(self, event: int, stream: Any) -> tuple[()]:  # noqa: N802
        assert int(stream) == 7
        self.events[event] = time.perf_counter()
        return ()

    def cudaEventSynchronize(self, event: int) -> tuple[()]:  # noqa: N802
        return ()

    def cudaEventElapsedTime(self, start: int, end: int) -> tuple[float]:  # noqa: N802
        return ((self.events[end] - self.events[start]) * 1e3,)

    def cudaMalloc(self, size: int) -> tuple[int]:  # noqa: N802
        buffer = np.empty(size, np.uint8)
        self.memory[buffer.ctypes.data] = buffer
        return (buffer.ctypes.data,)

    def cudaFree(self, address: int) -> tuple[()]:  # noqa: N802
        del self.memory[address]
        return ()

    def cudaMemcpy(self, target: int, source: int, size: int, kind: Any) -> tuple[()]:  # noqa: N802
        inward = kind == cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        assert inward or kind == cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        assert self.memory[target if inward else source].nbytes == size
        ctypes.memmove(target, source, size)
        return ()


class StandInEngine:
    """The methods of an engine and its context, answered by ONNX Runtime from the same graph."""

    num_io_tensors = 2

    def __init__(self, bundle: Path, largest: int, scale: float, cuda: StandInCuda) -> None:
        self.session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
        self.largest, self.scale, self.cuda = largest, scale, cuda
        self.addresses: dict[str, int] = {}

    def create_execution_context(self) -> "StandInEngine":
        return self

    def get_tensor_name(self, index: int) -> str:
        return ("images", "logits")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return trt.TensorIOMode.INPUT if name == "images" else trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return trt.DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return self.shape[0], 10

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return shape[0] <= self.largest

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self.cuda.memory
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        images, logits = (self.cuda.memory[self.addresses[name]].view(np.float32) for name in ("images", "logits"))
        logits[:] = self.scale * self.session.run(None, {"images": images.reshape(self.shape)})[0].ravel()
        return True


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    monkeypatch.syspath_prepend(SOURCE)
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        del sys.modules[name]


def run(
    program: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, bundle: Path, *options: str, scale: float = 1.0
) -> int:
    """The exit code of the program on the stand-in."""
    memory = StandInCuda()
    engine = StandInEngine(bundle, 8, scale, memory)
    vendor = SimpleNamespace(**vars(trt))
    vendor.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    for module in (program["engine"], program["bench"]):
        monkeypatch.setattr(module, "cuda", lambda: memory)
    monkeypatch.setattr(program["bench"], "load_vendor", lambda: vendor)
    monkeypatch.setattr(program["bench"], "build", lambda *arguments: b"a plan")
    monkeypatch.setattr(program["bench"], "WARMUP_CALLS", 12)  # a shared processor is never stable
    monkeypatch.setattr(sys, "argv", ["bench.py", str(bundle), *options])
    code: int = program["bench"].main()
    return code


def test_the_proof_and_the_result(
    program: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tensorrt_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "result.json"
    options = ("--batch", "3,8", "--rounds", "2", "--calls", "3", "-o", str(out))
    assert run(program, monkeypatch, tensorrt_bundle, *options) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" on ")[0] for line in said[1:3]] == ["✓ proved equal to the trained model"] * 2
    content = json.loads(out.read_text())
    assert content["environment"]["device"] == "stand-in"
    assert [np.shape(each["rounds_ms"]) for each in content["runs"]] == [(2, 3), (2, 3)]
    needed = set(ArtifactTiming.__dataclass_fields__) - DERIVED - {"stand_in", "profile"}
    assert all(set(each) == needed for each in content["runs"])
    assert set(content["environment"]) == set(Environment.__dataclass_fields__)
    assert min(ms for each in content["runs"] for calls in each["rounds_ms"] for ms in calls) > 0


def test_the_result_is_one_that_slide_export_reads(
    program: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tensorrt_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "result.json"
    assert run(program, monkeypatch, tensorrt_bundle, "--rounds", "6", "-o", str(out)) == 0
    (found,) = result.read(out).runs
    assert found.p50_ms.value == pytest.approx(float(np.median(found.rounds_ms)))
    assert found.subject.image_size == (64, 64)
    older = as_schema_1(Path(shutil.copytree(tensorrt_bundle, tmp_path / "older")))
    for bundle in (tensorrt_bundle, older):
        subject = program["bench"].subject_of(bundle, json.loads((bundle / "manifest.json").read_text()))
        assert (subject["precision"], subject["lowering"]) == ("fp32", found.subject.lowering)
    assert found.subject.lowering


def test_answers_off_by_a_percent_are_not_equal_and_nothing_is_written(
    program: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tensorrt_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "result.json"
    assert run(program, monkeypatch, tensorrt_bundle, "-o", str(out), scale=1.01) == 1
    assert "✗ NOT equal" in capsys.readouterr().out
    assert not out.exists()


def test_every_name_of_the_vendors_exists() -> None:
    """The program's constants and classes, and the methods that it calls on TensorRT's objects."""
    tree = ast.parse((SOURCE / "engine.py").read_text())
    chains = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for chain in chains:
        if chain.startswith("trt."):
            found: Any = trt
            for part in chain.split(".")[1:]:
                found = getattr(found, part)
    kinds = {
        "builder": trt.Builder,
        "network": trt.INetworkDefinition,
        "parser": trt.OnnxParser,
        "config": trt.IBuilderConfig,
        "profile": trt.IOptimizationProfile,
        "self._engine": trt.ICudaEngine,
        "self._context": trt.IExecutionContext,
        "self._runtime": trt.Runtime,
    }
    called = [(kinds[owner], name) for owner, _, name in (chain.rpartition(".") for chain in chains) if owner in kinds]
    assert len(called) >= 18
    assert not [(kind.__name__, name) for kind, name in called if not hasattr(kind, name)]
    named = set(re.findall(r'_call\("(\w+)"', (SOURCE / "engine.py").read_text()))
    assert len(named) >= 8
    assert all(hasattr(cudart, name) for name in named)
