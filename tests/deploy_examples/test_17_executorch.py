"""The C++ program, built against ExecuTorch's wheel and run; Kotlin and Swift as their grammars see them."""

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import tree_sitter_kotlin
import tree_sitter_swift

pytest.importorskip("executorch", reason="executorch is not installed")

import executorch

from slide_export.core.artifact import ModelIO
from slide_export.core.request import ExportRequest
from slide_export.workflows import export as pipeline
from tests.bundles import restate
from tests.deploy_examples import grammar
from tests.deploy_examples.conftest import EXAMPLES, require

SOURCE = EXAMPLES / "17_executorch"
PHONES = (
    (SOURCE / "android" / "Classifier.kt", tree_sitter_kotlin),
    (SOURCE / "ios" / "Classifier.swift", tree_sitter_swift),
)
ROOT = Path(next(iter(executorch.__path__)))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program, warnings being errors."""
    require("cmake", "g++", "nlohmann-json3-dev")
    build = tmp_path_factory.mktemp("build")
    flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-Werror", f"-DEXECUTORCH_ROOT={ROOT}"]
    for command in (["cmake", "-S", SOURCE, "-B", build, *flags], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "prove"


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("executorch")
    asked = ExportRequest(checkpoint, "executorch", out=out, image_count=2, interface=ModelIO(batch=1))
    return pipeline.export(asked).path


def prove(program: Path, place: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program, place], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_proves_the_bundle_and_refuses_another_model(program: Path, bundle: Path, tmp_path: Path) -> None:
    done = prove(program, bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ proved equal to the trained model on 2 images (ExecuTorch with XNNPACK)" in done.stdout
    altered = shutil.copytree(bundle, tmp_path / "altered")
    golden = bytearray((altered / "golden.safetensors").read_bytes())
    data = 8 + int.from_bytes(golden[:8], "little")
    _, end = json.loads(golden[8:data])["reference.logits"]["data_offsets"]
    golden[data + end - 8 : data + end] = struct.pack("<d", 4.0)  # the last logit of the last image
    (altered / "golden.safetensors").write_bytes(golden)
    restate(altered)
    assert prove(program, altered).returncode == 1


@pytest.mark.slow
def test_bad_input_is_refused_in_a_sentence(program: Path, tmp_path: Path) -> None:
    done = prove(program, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected a bundle of slide-export at ")
    assert subprocess.run([program], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(("file", "language"), PHONES, ids=["kotlin", "swift"])
def test_the_phones_programs_are_of_their_language(file: Path, language: ModuleType) -> None:
    root = grammar.parse(file.read_bytes(), language)
    assert grammar.faults(root) == []
    found = [grammar.faults(grammar.parse(text, language)) for text in grammar.mutations(root)]
    assert found
    assert all(found)


def test_the_phones_take_the_runtime_that_exports() -> None:
    pinned = re.search(r'executorch==([\d.]+)"', (EXAMPLES.parent / "pyproject.toml").read_text())
    assert pinned is not None
    for file, _ in PHONES:
        assert pinned[1] in file.read_text()
    readme = (SOURCE / "README.md").read_text()
    assert f"executorch-android:{pinned[1]}" in readme
    assert f"swiftpm-{pinned[1]}" in readme


def test_readme_says_first_what_has_not_been_built() -> None:
    _, _, said = (SOURCE / "README.md").read_text().partition("\n\n")
    assert "have not been built or run" in said.partition("\n\n")[0]
