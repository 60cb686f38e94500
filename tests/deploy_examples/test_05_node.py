"""The program of 05_node, run as a user runs it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.deploy_examples.conftest import require
from tests.deploy_examples.npm import installed
from tests.deploy_examples.restated import move_weight, restate
from tests.deploy_examples.truth import best


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("nodejs", "npm")
    return installed("05_node", tmp_path_factory)


def classify(example: Path, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = ["node", "classify.mjs", *map(str, arguments)]
    return subprocess.run(command, cwd=example, capture_output=True, text=True, check=False, timeout=60)


def test_a_bundle_is_proved_and_classifies_as_in_python(example: Path, onnx_bundle: Path, seven: Path) -> None:
    done = classify(example, onnx_bundle, seven)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("✓ proved equal, logits: largest error ")
    label, share = best(onnx_bundle, seven)
    assert re.search(rf"{share:.1f}%  {label}\n", done.stdout)
    assert len(re.findall(r"^ +\d+\.\d%  \S+$", done.stdout, re.MULTILINE)) == 5


def test_a_photograph_is_turned_upright_and_resized_as_in_python(
    example: Path, onnx_bundle: Path, seven: Path, tmp_path: Path
) -> None:
    lying = tmp_path / "lying.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise to see it upright
    Image.open(seven).resize((150, 111)).rotate(90, expand=True).convert("RGBA").save(lying, exif=exif)
    label, share = best(onnx_bundle, lying)
    assert f"{share:.1f}%  {label}\n" in classify(example, onnx_bundle, lying).stdout


def test_one_altered_weight_is_not_equal(example: Path, onnx_bundle: Path, seven: Path, tmp_path: Path) -> None:
    altered = move_weight(Path(shutil.copytree(onnx_bundle, tmp_path / "altered")))
    done = classify(example, altered, seven)
    assert done.returncode == 1
    assert "✗ NOT equal, logits: largest error " in done.stdout
    assert re.search(r"logits is off by \S+ at most, allowed \S+\n", done.stderr)
    assert "%" not in done.stdout  # what is not the model says nothing of an image


def test_what_was_altered_without_the_manifest_is_refused(
    example: Path, onnx_bundle: Path, seven: Path, tmp_path: Path
) -> None:
    altered = Path(shutil.copytree(onnx_bundle, tmp_path / "altered"))
    with (altered / "model.onnx").open("ab") as file:
        file.write(b"\0")
    done = classify(example, altered, seven)
    assert done.returncode == 2
    assert done.stderr == (f"expected model.onnx as it was exported, its sha256 differs in {altered}: it was altered\n")


def test_what_is_no_model_is_refused(example: Path, onnx_bundle: Path, seven: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(onnx_bundle, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"no model")
    done = classify(example, restate(broken), seven)
    assert done.returncode == 2
    assert done.stderr.startswith("expected a model that ONNX Runtime can load, it says: ")


def test_no_bundle_no_image_and_no_argument_are_refused(
    example: Path, onnx_bundle: Path, seven: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no image")
    for arguments, sentence in (
        ((tmp_path, seven), f"expected a bundle of slide-export, found no manifest.json in {tmp_path}\n"),
        ((onnx_bundle, text), f"expected an image, {text} cannot be decoded ("),
        ((onnx_bundle,), "expected a bundle and an image: node classify.mjs BUNDLE IMAGE\n"),
    ):
        done = classify(example, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(sentence)


def test_another_targets_bundle_is_refused(example: Path, openvino_bundle: Path, seven: Path) -> None:
    done = classify(example, openvino_bundle, seven)
    assert done.returncode == 2
    assert done.stderr == (
        f"expected a bundle for onnx, {openvino_bundle} is for openvino: export it again with --target onnx\n"
    )


def test_it_needs_no_install_script(example: Path) -> None:
    assert "ignore-scripts=true" in (example / ".npmrc").read_text().splitlines()
    packages = json.loads((example / "package-lock.json").read_text())["packages"]
    assert packages["node_modules/onnxruntime-node"]["hasInstallScript"]  # which would fetch what is no package
