"""The C++ program, built against the OpenVINO wheel and run; its pixels are Pillow's to the bit."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from slide_export.bundle.describe import _preprocessing
from slide_export.calibration.images import bundled, read
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core import typed_json
from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.digits import train
from slide_export.inference.preprocess import normalise
from slide_export.inference.served import serve
from slide_export.models import DataConfig
from tests.deploy_examples.conftest import EXAMPLES, require

SOURCE = EXAMPLES / "03_openvino_cpp"
DIGITS = Path(train.__file__).parent
PERCENT = 0.1  # the shown share is rounded to it
STEP = 2.0**-22  # of a normalised value near 2: its division and subtraction may round the other way
WRITE_PIXELS = """
#include <iostream>
#include "image.hpp"
int main(int, char** words) { std::cout << prepare(read_ppm(words[1]), nlohmann::json::parse(words[2])); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program, warnings being errors."""
    require("cmake", "g++", "nlohmann-json3-dev")
    from openvino.utils import get_cmake_path

    build = tmp_path_factory.mktemp("build")
    flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-Werror", f"-DOpenVINO_DIR={get_cmake_path()}"]
    _done("cmake", "-S", SOURCE, "-B", build, *flags)
    _done("cmake", "--build", build)
    return build / "classify"


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that writes what `prepare` returns."""
    require("g++", "nlohmann-json3-dev")
    out = tmp_path_factory.mktemp("pixels") / "pixels"
    (out.parent / "pixels.cpp").write_text(WRITE_PIXELS)
    flags = ["-std=c++17", "-D_GLIBCXX_ASSERTIONS", "-I", SOURCE]
    _done("g++", *flags, "-o", out, out.parent / "pixels.cpp")
    return out


def _done(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout


def classify(program: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def picture(seven: Path, tmp_path: Path) -> Path:
    Image.open(seven).convert("RGB").save(tmp_path / "seven.ppm")
    return tmp_path / "seven.ppm"


def test_an_image_is_answered_as_the_trained_model_answers_it(
    program: Path, openvino_bundle: Path, picture: Path
) -> None:
    done = classify(program, openvino_bundle, picture, picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("✓ proved equal to the trained model on 8 images (OpenVINO ")
    model = load_checkpoint(DIGITS / "digits.pth")
    with torch.inference_mode():
        fed = torch.from_numpy(normalise(read([picture], model.data, model.image_size), model.data))
        expected = 100 * float(model.module(fed).softmax(1).max())
    assert expected == pytest.approx(float(done.stdout.splitlines()[2].partition("%")[0]), abs=PERCENT)
    assert [line.split()[-1] for line in done.stdout.splitlines()[2::6]] == ["seven", "seven"]


def test_one_weight_off_by_a_percent_is_not_equal(program: Path, openvino_bundle: Path, tmp_path: Path) -> None:
    altered = Path(shutil.copytree(openvino_bundle, tmp_path / "altered"))
    place = ElementTree.parse(altered / "model.xml").find("./layers/layer[@name='head.weight']/data")
    assert place is not None
    values = np.memmap(altered / "model.bin", np.float32, "r+", offset=int(place.attrib["offset"]), shape=1)
    values *= 1.01
    values.flush()
    done = classify(program, altered, "--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("✗ NOT equal")


def test_wrong_input_is_refused_in_one_sentence(
    program: Path, openvino_bundle: Path, onnx_bundle: Path, seven: Path, tmp_path: Path
) -> None:
    truncated = Path(shutil.copytree(openvino_bundle, tmp_path / "truncated"))
    golden = (truncated / "golden.safetensors").read_bytes()
    (truncated / "golden.safetensors").write_bytes(golden[: len(golden) // 2])
    headless = tmp_path / "short.ppm"
    headless.write_bytes(b"P6\n# a comment\n64 64\n255\n" + bytes(9))
    for arguments, expected in (
        ([openvino_bundle], "usage: classify BUNDLE"),
        ([tmp_path, "--check"], f"error: expected a bundle of slide-export at {tmp_path}: cannot read"),
        ([truncated, "--check"], f"error: expected a bundle of slide-export at {truncated}: golden.safetensors ends"),
        ([onnx_bundle, "--check"], f"error: expected a bundle for openvino, {onnx_bundle} is for onnx"),
        ([openvino_bundle, seven], f"error: expected a binary 8-bit PPM picture (P6), {seven} is none"),
        ([openvino_bundle, headless], f"error: expected a whole picture, {headless} ends early"),
    ):
        done = classify(program, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(expected)


@pytest.mark.parametrize(
    ("data", "size", "embedded"),
    [
        (DataConfig(), (64, 64), True),
        (DataConfig(interpolation="bilinear"), (63, 96), True),
        (DataConfig(keep_aspect=False, scale=1.0), (512, 40), True),  # the width first
        (DataConfig(keep_aspect=False, scale=1.0), (40, 512), True),  # the height first
        (DataConfig(), (64, 64), False),
    ],
    ids=["bicubic with a crop", "bilinear, oblong", "narrow", "flat", "normalised"],
)
def test_pixels_are_those_of_the_proof(
    pixels: Path, model: Model, data: DataConfig, size: tuple[int, int], embedded: bool, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.ppm"
    source = next(path for path in bundled().files if path.name == "chelsea.jpg")
    Image.open(source).convert("RGB").save(photo)
    how = typed_json.plain(_preprocessing(serve(replace(model, data=data), ModelIO(embed_preprocessing=embedded))))
    found = _done(pixels, photo, json.dumps({**how, "resize": data.resized(size), "crop": size}))
    expected = read([photo], data, size)
    if embedded:
        assert np.array_equal(np.frombuffer(found, np.uint8), expected.ravel())
    else:
        assert np.abs(np.frombuffer(found, np.float32) - normalise(expected, data).ravel()).max() <= STEP
