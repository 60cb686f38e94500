"""What one process has prepared is read by another, whole; a file that was altered is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slide_export.calibration.quantization import NumericFormat
from slide_export.core.errors import BundleError
from slide_export.core.precision import FP16
from slide_export.core.request import ExportRequest
from slide_export.workflows import all_targets, prepared_files
from slide_export.workflows import prepare as preparing
from slide_export.workflows.prepare import Prepared
from slide_export.workflows.resolve import resolve


def test_another_process_reads_what_one_has_prepared(prepared: Prepared, tmp_path: Path) -> None:
    prepared_files.write(prepared, tmp_path)
    read = prepared_files.read(tmp_path)
    assert (read.certificate, read.request, read.proof_images) == (
        prepared.certificate,
        prepared.request,
        prepared.proof_images,
    )
    assert replace(read.served.trained, module=None) == replace(prepared.served.trained, module=None)  # type: ignore[arg-type]
    state, again = prepared.served.module.state_dict(), read.served.module.state_dict()
    assert all(bool((again[name] == value).all()) for name, value in state.items())
    assert np.array_equal(read.truth.exact["logits"], prepared.truth.exact["logits"])
    graphs = (one.in_form("taps", "onnx").graph.proto.SerializeToString(deterministic=True) for one in (read, prepared))
    assert len(set(graphs)) == 1
    numbers = resolve(ExportRequest(Path("c"), precision="fp16", out=tmp_path)).numbers
    assert numbers.precision == FP16
    assert np.array_equal(read.reference(numbers).rounded["logits"], prepared.reference(numbers).rounded["logits"])
    assert not list(tmp_path.glob("*.p*kl*"))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", {NumericFormat()}), ("fp16", {NumericFormat(), NumericFormat(FP16)}), ("w8", {NumericFormat()})],
)
def test_the_floors_that_targets_share_are_computed_before_they_part(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, expected: set[NumericFormat]
) -> None:
    asked = ExportRequest(checkpoint, precision=precision, out=tmp_path, image_count=1)
    order = {"request": all_targets.plain(asked), "prepared": str(tmp_path), "threads": 1}
    assert all_targets.prepare_one(order) == {"path": None}
    monkeypatch.setattr(preparing.reference, "with_floor", None)  # what is read is not computed again
    read = prepared_files.read(tmp_path)
    assert set(read.floors) == expected
    for numbers in expected:
        assert np.isfinite(read.with_floor(numbers).rounded["logits"]).all()


@pytest.mark.parametrize("name", ["trained.safetensors", "truth.safetensors", "taps.onnx", "prepared.json"])
def test_an_altered_or_missing_file_is_refused(name: str, prepared: Prepared, tmp_path: Path) -> None:
    prepared_files.write(prepared, tmp_path)
    file = tmp_path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    if name != "prepared.json":
        with pytest.raises(BundleError, match="its sha256 differs"):
            prepared_files.read(tmp_path)
    file.unlink()
    with pytest.raises(BundleError, match="expected a prepared checkpoint"):
        prepared_files.read(tmp_path)
