"""The C++ program for an NVIDIA GPU: its grammar, its calls, and a run against stand-ins for the vendors' headers.

No package brings `NvInfer.h`, so the fast tests compile against `stand_in_gpu/`, and hold every name that the program
uses against the vendors' Python bindings, which the stand-ins cannot make up. Where TENSORRT_ROOT names NVIDIA's own
archive, the program is built with it too.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tree_sitter
import tree_sitter_cpp

from slide_export.benchmark import result_file as result
from slide_export.bundle import store as bundle
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, Environment
from tests.bundles import as_schema_1
from tests.deploy_examples.conftest import EXAMPLES, require

SOURCE = EXAMPLES / "08_tensorrt_cpp"
STAND_IN = Path(__file__).parent / "stand_in_gpu"
DERIVED = {"p50_ms", "p90_ms", "p99_ms", "images_per_s"}  # of a run, computed on reading
OWNERS = {  # the class of the Python bindings behind each name in the program
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime_": "Runtime",
    "engine_": "ICudaEngine",
    "context_": "IExecutionContext",
}
CPP_ALONE = {"Severity", "OptProfileSelector"}
RENAMED = {  # what the Python bindings call otherwise
    "createNetworkV2": "create_network",
    "enqueueV3": "execute_async_v3",
    "getIOTensorName": "get_tensor_name",
    "getNbIOTensors": "num_io_tensors",
    "getTensorDataType": "get_tensor_dtype",
    "getTensorIOMode": "get_tensor_mode",
    "setDimensions": "set_shape",
}

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
cudart = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program on the stand-in, warnings being errors."""
    require("g++", "nlohmann-json3-dev")
    out = tmp_path_factory.mktemp("bench") / "bench"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-D_GLIBCXX_ASSERTIONS"]
    places = ["-I", EXAMPLES / "03_openvino_cpp", "-isystem", STAND_IN]
    done = subprocess.run(["g++", *flags, *places, SOURCE / "bench.cpp", "-o", out], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return out


@pytest.fixture
def answers(tensorrt_bundle: Path, tmp_path: Path) -> Path:
    """What the stand-in answers: the trained model's outputs."""
    golden, place = bundle.golden(bundle.read(tensorrt_bundle)), tmp_path / "answers"
    place.mkdir()
    golden.feeds["images"].tofile(place / "images")
    golden.exact["logits"].astype(np.float32).tofile(place / "answers")
    return place


def bench(program: Path, *arguments: str | Path, answers: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **({"STAND_IN": str(answers)} if answers else {})}
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("batch", [3, 8])
def test_the_proof_and_the_result(
    program: Path, tensorrt_bundle: Path, answers: Path, batch: int, tmp_path: Path
) -> None:
    out, plan, cache = tmp_path / "result.json", tmp_path / "model.plan", tmp_path / "timings"
    files = ["-o", out, "--plan", plan, "--timing-cache", cache]
    numbers = ["--batch", str(batch), "--rounds", "2", "--calls", "3"]
    done = bench(program, tensorrt_bundle, *numbers, *files, answers=answers)
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ proved equal to the trained model on 8 images (TensorRT 10.12.0 on stand-in)" in done.stdout
    assert (plan.read_text(), cache.read_text()) == (str(batch), "timings")
    content = json.loads(out.read_text())
    (run,) = content["runs"]
    assert (run["batch"], np.shape(run["rounds_ms"])) == (batch, (2, 3))
    assert set(run) == set(ArtifactTiming.__dataclass_fields__) - DERIVED - {"stand_in", "profile"}
    assert set(content["environment"]) == set(Environment.__dataclass_fields__)
    assert set(run["subject"]) <= set(ArtifactInfo.__dataclass_fields__)


def test_the_result_is_one_that_slide_export_reads(
    program: Path, tensorrt_bundle: Path, answers: Path, tmp_path: Path
) -> None:
    done = bench(program, tensorrt_bundle, "--rounds", "6", "-o", tmp_path / "result.json", answers=answers)
    assert done.returncode == 0, done.stderr
    (found,) = result.read(tmp_path / "result.json").runs
    assert found.p50_ms.value == pytest.approx(float(np.median(found.rounds_ms)))
    older = as_schema_1(Path(shutil.copytree(tensorrt_bundle, tmp_path / "older")))
    done = bench(program, older, "--rounds", "1", "-o", tmp_path / "older.json", answers=answers)
    assert done.returncode == 0, done.stderr
    for name in ("result", "older"):
        subject = json.loads((tmp_path / f"{name}.json").read_text())["runs"][0]["subject"]
        assert subject["precision"] == "fp32"
        assert subject["lowering"] == bundle.read(tensorrt_bundle).manifest.options.form


def test_answers_off_by_a_percent_are_not_equal_and_nothing_is_written(
    program: Path, tensorrt_bundle: Path, answers: Path, tmp_path: Path
) -> None:
    (1.01 * np.fromfile(answers / "answers", np.float32)).astype(np.float32).tofile(answers / "answers")
    done = bench(program, tensorrt_bundle, "-o", tmp_path / "result.json", answers=answers)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ NOT equal" in done.stdout
    assert not (tmp_path / "result.json").exists()


def test_wrong_input_is_refused_in_one_sentence(
    program: Path, tensorrt_bundle: Path, onnx_bundle: Path, tmp_path: Path
) -> None:
    for arguments, code, expected in (
        ([tensorrt_bundle], 3, "error: expected an NVIDIA GPU, found none"),
        ([tmp_path], 2, f"error: expected a bundle of slide-export at {tmp_path}: cannot read"),
        ([onnx_bundle], 2, f"error: expected a bundle for tensorrt, {onnx_bundle} is for onnx"),
        ([tensorrt_bundle, "--batch"], 2, "error: expected a value after --batch"),
        ([tensorrt_bundle, "--batch", "none"], 2, "error: expected numbers of 1 or more"),
        ([tensorrt_bundle, "--fast"], 2, "error: expected one bundle and known options, found --fast"),
    ):
        done = bench(program, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(expected)


def _tree(path: Path) -> tree_sitter.Node:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language())).parse(path.read_bytes()).root_node


def _captured(path: Path, query: str) -> list[dict[str, str]]:
    """The text of each capture, match by match."""
    language = tree_sitter.Language(tree_sitter_cpp.language())
    matches = tree_sitter.QueryCursor(tree_sitter.Query(language, query)).matches(_tree(path))
    return [{name: (nodes[0].text or b"").decode() for name, nodes in found.items()} for _, found in matches]


@pytest.mark.parametrize("name", ["bench.cpp", "engine.hpp"])
def test_the_grammar_is_that_of_cpp(name: str) -> None:
    assert not _tree(SOURCE / name).has_error
    cut = (SOURCE / name).read_bytes().replace(b"}", b"", 1)
    assert tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language())).parse(cut).root_node.has_error


def test_every_method_of_tensorrt_exists() -> None:
    query = "(field_expression argument: (identifier) @owner field: (field_identifier) @method)"
    calls = [(found["owner"], found["method"]) for found in _captured(SOURCE / "engine.hpp", query)]
    called = {(OWNERS[owner], method) for owner, method in calls if owner in OWNERS}
    assert len(called) >= 20
    for owner, method in called:
        snake = RENAMED.get(method) or re.sub("([A-Z])", lambda found: "_" + found[1].lower(), method)
        assert hasattr(getattr(trt, owner), snake), f"{owner}.{method}"


def test_every_constant_of_tensorrt_exists() -> None:
    text = (SOURCE / "engine.hpp").read_text()
    constants = set(re.findall(r"(\w+)::k([A-Z0-9_]+)", text))
    constants = {
        (kind, name) for kind, name in constants if kind not in ("Severity", "OptProfileSelector")
    }  # C++ has more
    assert len(constants) >= 4
    assert all(hasattr(getattr(trt, kind), name) for kind, name in constants)


def test_every_function_of_cuda_exists_and_takes_so_much() -> None:
    """C returns through a pointer what Python returns beside the error, so it takes one argument more there."""
    query = "(call_expression function: (identifier) @name arguments: (argument_list) @arguments)"
    calls = [each for name in ("bench.cpp", "engine.hpp") for each in _captured(SOURCE / name, query)]
    calls = [each for each in calls if each["name"].startswith("cuda")]
    assert len({each["name"] for each in calls}) >= 12
    for each in calls:
        name, given = each["name"], len([part for part in each["arguments"].strip("()").split(",") if part])
        (signature,) = re.findall(rf"^{name}\((.*)\)", getattr(cudart, name).__doc__, flags=re.MULTILINE)
        taken = len([part for part in signature.split(",") if part])
        assert given - ("&" in each["arguments"] or "(count" in each["arguments"]) == taken, f"{name}({signature})"


@pytest.mark.skipif("TENSORRT_ROOT" not in os.environ, reason="TENSORRT_ROOT names no archive of TensorRT")
def test_it_builds_with_nvidias_own(tensorrt_bundle: Path, tmp_path: Path) -> None:
    require("cmake", "g++", "nlohmann-json3-dev")
    flags = [f"-DTENSORRT_ROOT={os.environ['TENSORRT_ROOT']}", "-DCMAKE_CXX_FLAGS=-Werror"]
    for command in (["cmake", "-S", SOURCE, "-B", tmp_path, *flags], ["cmake", "--build", tmp_path]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    built = bench(tmp_path / "bench", tensorrt_bundle, "--build-only", "--plan", tmp_path / "model.plan")
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("built an engine of ")
    assert (tmp_path / "model.plan").stat().st_size > 1_000_000
