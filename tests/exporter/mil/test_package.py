import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.mil import Evaluator, MilError, Package


def linear_program() -> Any:
    from coremltools.converters.mil.mil import Builder

    mb = Builder
    weight = np.arange(3072, dtype=np.float32).reshape(32, 96) / 3072  # large enough to live in weight.bin

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 96))])
    def program(x: Any) -> Any:
        return mb.linear(x=x, weight=weight, name="y")

    return program


def test_operations_carry_declared_types(save: Any) -> None:
    package = save(linear_program(), "fp16")
    linear = next(op for op in package.operations() if op.type == "linear")
    assert [str(output.type) for output in linear.outputs] == ["fp16[1, 32]"]


def test_features(save: Any) -> None:
    package = save(linear_program())
    assert [(f.name, f.kind, f.element, f.shape) for f in package.inputs] == [("x", "array", "fp32", (1, 96))]


def test_one_changed_weight_on_disk_changes_the_output(save: Any) -> None:
    package = save(linear_program())
    feeds = {"x": np.ones((1, 96), np.float32)}
    before = Evaluator(package).run(feeds)["y"]
    path = package.path / "Data/com.apple.CoreML/weights/weight.bin"
    content = bytearray(path.read_bytes())
    content[128 : 128 + 4] = np.float32(7.0).tobytes()  # first element of the first entry: it was 0
    path.unlink()
    path.write_bytes(content)
    after = Evaluator(Package.read(package.path)).run(feeds)["y"]
    assert after[0, 0] - before[0, 0] == pytest.approx(7.0, rel=1e-5)
    assert np.array_equal(after[0, 1:], before[0, 1:])


def test_a_directory_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(MilError, match=r"Manifest\.json"):
        Package.read(tmp_path)


def test_a_manifest_without_root_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "Manifest.json").write_text(json.dumps({"itemInfoEntries": {}}))
    with pytest.raises(MilError, match="root model"):
        Package.read(tmp_path)


def test_a_missing_weight_file_is_named(save: Any) -> None:
    package = save(linear_program())
    (package.path / "Data/com.apple.CoreML/weights/weight.bin").unlink()
    with pytest.raises(MilError, match=r"weight\.bin"):
        Package.read(package.path)


def test_importing_the_evaluator_does_not_import_coremltools() -> None:
    check = "import sys, slide_export.mil; sys.exit('coremltools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_reading_raises_no_warning(save: Any) -> None:
    path = save(linear_program()).path
    check = f"from slide_export.mil import Package; Package.read({str(path)!r})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
