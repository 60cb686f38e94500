"""The three Python programs, run as a user runs them: they differ in the runtime alone."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from slide_export.backends.ncnn import network, weights
from slide_export.bundle.describe import _preprocessing
from slide_export.calibration.images import bundled, read
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core import typed_json
from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.core.request import ExportRequest
from slide_export.digits import train
from slide_export.inference.preprocess import normalise
from slide_export.inference.served import serve
from slide_export.models import DataConfig
from slide_export.workflows import export as pipeline
from tests.deploy_examples.conftest import program_at

DIGITS = Path(train.__file__).parent
PROGRAMS = {
    "onnx": DIGITS.parent / "01_onnxruntime_python" / "classify.py",
    "openvino": DIGITS.parent / "02_openvino_python" / "classify.py",
    "ncnn": DIGITS.parent / "18_ncnn" / "classify.py",
}
TARGETS = list(PROGRAMS)
OWN = {"open_session"}  # of each program; the other functions are the same
PERCENT = 0.1  # the shown share is rounded to it


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bundle(target: str, request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(f"{target}_bundle"))


@pytest.fixture
def altered(target: str, bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, one weight of it one percent larger."""
    copied = Path(shutil.copytree(bundle, tmp_path / "altered"))
    {"onnx": _alter_onnx, "openvino": _alter_openvino, "ncnn": _alter_ncnn}[target](copied)
    return copied


def _alter_onnx(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name == "head.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] *= 1.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(graph, folder / "model.onnx")


def _alter_openvino(folder: Path) -> None:
    place = ElementTree.parse(folder / "model.xml").find("./layers/layer[@name='head.weight']/data")
    assert place is not None
    values = np.memmap(folder / "model.bin", np.float32, "r+", offset=int(place.attrib["offset"]), shape=1)
    values *= 1.01


def _alter_ncnn(folder: Path) -> None:
    layers, data = network.read(folder / "model.param"), (folder / "model.bin").read_bytes()
    *_, head, _bias = weights.read(layers, data)  # the last two tensors of the file
    offset = len(data) - 4 * (head.values.size + head.values.shape[0])
    values = np.memmap(folder / "model.bin", np.float32, "r+", offset=offset, shape=1)
    assert values[0] == head.values[0, 0]
    values *= 1.01


def classify(target: str, *arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAMS[target], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def shares(text: str) -> dict[str, float]:
    """The percents that were printed, by label."""
    rows = [line.split("%") for line in text.splitlines() if line.startswith("  ")]
    return {label.strip(): float(percent) for percent, label in rows}


def test_an_image_is_answered_as_the_trained_model_answers_it(target: str, bundle: Path, seven: Path) -> None:
    done = classify(target, bundle, seven)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("✓ proved equal to the trained model on 8 images")
    model = load_checkpoint(DIGITS / "digits.pth")
    with torch.inference_mode():
        logits = model.module(torch.from_numpy(normalise(read([seven], model.data, model.image_size), model.data)))[0]
    expected = 100 * logits.double().softmax(0)
    found = shares(done.stdout)
    assert next(iter(found)) == "seven"
    labels = (DIGITS / "labels.txt").read_text().split()
    assert [found[labels[i]] for i in expected.topk(5).indices] == pytest.approx(
        expected.topk(5).values.tolist(), abs=PERCENT
    )


def test_one_weight_off_by_a_percent_is_not_equal_and_nothing_is_answered(
    target: str, altered: Path, seven: Path
) -> None:
    done = classify(target, altered, seven)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert done.stdout.startswith("✗ NOT equal to the trained model")


def test_nan_is_not_equal(target: str, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = program_at(PROGRAMS[target])
    manifest, golden = program.read_bundle(bundle)
    wrong = golden["reference.logits"] * np.nan
    assert not program.check(lambda images: [wrong[: len(images)]], manifest, golden, "a test")
    assert "NOT equal" in capsys.readouterr().out


def test_golden_arrays_are_those_that_safetensors_reads(target: str, bundle: Path) -> None:
    from safetensors.numpy import load_file

    _, golden = program_at(PROGRAMS[target]).read_bundle(bundle)
    expected = load_file(bundle / "golden.safetensors")
    assert golden.keys() == expected.keys()
    assert all(np.array_equal(golden[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "data",
    [
        DataConfig(),
        DataConfig(interpolation="bilinear", scale=1.0),
        DataConfig(keep_aspect=False, mean=(0.5,) * 3, std=(0.25,) * 3),
    ],
    ids=["bicubic with a crop", "bilinear", "both sides"],
)
@pytest.mark.parametrize("embedded", [False, True])
def test_pixels_are_those_of_the_proof(target: str, model: Model, data: DataConfig, embedded: bool) -> None:
    photo = next(path for path in bundled().files if path.name == "chelsea.jpg")
    interface = ModelIO(embed_preprocessing=embedded)
    how = typed_json.plain(_preprocessing(serve(replace(model, data=data), interface)))
    found = program_at(PROGRAMS[target]).prepare(photo, how)
    pixels = read([photo], data, model.image_size)
    assert np.array_equal(found, pixels if embedded else normalise(pixels, data))


@pytest.mark.parametrize("target", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_fixed_batch_takes_any_number_of_photographs(target: str, checkpoint: Path, tmp_path: Path) -> None:
    facing = ModelIO(batch=3, embed_preprocessing=True, softmax=True)
    bundle = pipeline.export(ExportRequest(checkpoint, target, out=tmp_path, interface=facing)).path
    photos = bundled().files[:2]
    done = classify(target, bundle, *photos)
    assert done.returncode == 0, done.stderr
    model = load_checkpoint(checkpoint)
    with torch.inference_mode():
        fed = torch.from_numpy(normalise(read(photos, model.data, model.image_size), model.data))
        expected = 100 * model.module(fed).softmax(1)
    answers = done.stdout.split(str(photos[1]))  # the first photograph's, and the second's
    for answer, row in zip(answers, expected, strict=True):
        found = shares(answer)
        assert found == {f"class {i}": pytest.approx(float(row[i]), abs=PERCENT) for i in row.topk(5).indices.tolist()}


WRONG: dict[str, tuple[Callable[[Path, Path], list[str | Path]], str]] = {
    "no bundle": (lambda bundle, tmp: [tmp, "--check"], "expected a bundle of slide-export at"),
    "nothing to do": (lambda bundle, tmp: [bundle], "expected images, or --check alone"),
    "broken image": (lambda bundle, tmp: [bundle, tmp / "broken.png"], "expected an image"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_refused_in_one_sentence(target: str, bundle: Path, what: str, tmp_path: Path) -> None:
    arguments, expected = WRONG[what]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    done = classify(target, *arguments(bundle, tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr.splitlines()[-1]


def test_a_bundle_of_another_target_is_refused(onnx_bundle: Path) -> None:
    done = classify("openvino", onnx_bundle, "--check")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: expected a bundle for openvino, {onnx_bundle} is for onnx")


def test_an_artifact_that_does_not_load_is_refused(target: str, bundle: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    artifact = json.loads((broken / "manifest.json").read_text())["artifact"]["path"]
    (broken / artifact).write_bytes(b"nothing")
    done = classify(target, broken, "--check")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: expected ")  # OpenVINO's readers complain above it


def test_a_missing_runtime_is_told(target: str, bundle: Path, tmp_path: Path) -> None:
    name = {"onnx": "onnxruntime"}.get(target, target)
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")
    done = classify(target, bundle, "--check", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert "pip install -r requirements.txt" in done.stderr


def test_the_programs_differ_in_the_runtime_alone() -> None:
    found = [
        {node.name: ast.dump(node) for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in PROGRAMS.values()
    ]
    assert all({name for name in one if one[name] != found[0].get(name)} <= OWN for one in found)
    assert all(one.keys() == found[0].keys() for one in found)


@pytest.mark.parametrize("path", PROGRAMS.values(), ids=TARGETS)
def test_requirements_are_what_the_program_imports(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    listed = {line.partition(">")[0] for line in path.with_name("requirements.txt").read_text().split()}
    assert {"pillow" if name == "PIL" else name for name in outside} == listed
