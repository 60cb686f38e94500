"""The matrix's bookkeeping: which models are measured together, what a later run keeps, what counts as proved."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from slide_export.models import variants
from tests.benchmarks import matrix, matrix_rows
from tests.benchmarks.matrix_rows import Row

OUTPUT = {"name": "logits", "max_abs": 1e-6, "limit_max": 4e-6, "sqnr_db": 130.26}
ROW = Row(
    "nat_tiny", "onnx", "fp32", 0, "", 30.0, 28_000_000, 2**27, {"outputs": [OUTPUT], "evaluator": "ONNX Runtime"}
)


def test_a_model_is_measured_with_the_one_that_replaces_its_attention() -> None:
    found = matrix.groups(("slide_nat_tiny", "cswin_base_384", "nat_tiny"))
    assert found == [("nat_tiny", "slide_nat_tiny"), ("cswin_base_384",)]
    assert sorted(sum(matrix.groups(variants()), ())) == sorted(variants())


def test_the_last_row_of_a_key_counts_and_a_crash_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    crashed = replace(ROW, exit_code=70, message="out of memory")
    matrix_rows.append(path, [crashed, replace(ROW, target="coreml", exit_code=1)])
    assert [row.finished for row in matrix_rows.read(path)] == [False, True]
    matrix_rows.append(path, [ROW])
    assert {row.target: row.exit_code for row in matrix_rows.read(path)} == {"onnx": 0, "coreml": 1}
    assert json.loads(path.read_text().splitlines()[-1]) == asdict(ROW)


def test_what_is_done_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "TABLE", "PROVED"):
        monkeypatch.setattr(matrix, name, tmp_path / name)
    ran = []

    def run_group(group: tuple[str, ...], target: str, precision: str, timed: bool) -> list[Row]:
        ran.append((*group, target, precision, timed))
        return [replace(ROW, variant=variant, target=target, precision=precision) for variant in group]

    monkeypatch.setattr(matrix, "run_group", run_group)
    matrix_rows.append(tmp_path / "ROWS", [ROW])
    asked = ["--variants", "nat_tiny", "--targets", "onnx", "openvino", "--precisions", "fp32", "--latency", "no"]
    assert matrix.main(asked) == 0
    assert ran == [("nat_tiny", "openvino", "fp32", False)]
    assert matrix.main(asked) == 0
    assert len(ran) == 1
    assert json.loads((tmp_path / "PROVED").read_text())["nat_tiny"].keys() == {"onnx", "openvino"}
    assert (
        "| nat_tiny | onnx | fp32 | 28.0 | 128.0 | proved | 1.0e-06 | 4.0e-06 | 130 dB |"
        in (tmp_path / "TABLE").read_text()
    )


def test_a_proof_without_latency_is_run_again_for_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "TABLE", "PROVED"):
        monkeypatch.setattr(matrix, name, tmp_path / name)
    ran = []

    def run_group(group: tuple[str, ...], target: str, precision: str, timed: bool) -> list[Row]:
        ran.append((*group, target, precision, timed))
        return [replace(ROW, target=target, latency_ms=12.5 if timed else None)]

    monkeypatch.setattr(matrix, "run_group", run_group)
    monkeypatch.setattr(matrix, "can_be_timed", lambda target: target == "onnx")
    matrix_rows.append(tmp_path / "ROWS", [ROW, replace(ROW, target="coreml")])
    asked = ["--variants", "nat_tiny", "--targets", "onnx", "coreml", "--precisions", "fp32"]
    assert [matrix.main(asked), matrix.main(asked)] == [0, 0]
    assert ran == [("nat_tiny", "onnx", "fp32", True)]


def test_a_lost_proof_leaves_the_table_and_others_stay() -> None:
    proof = {"sqnr_db": 130.3, "evaluator": "ONNX Runtime"}
    before = {"nat_tiny": {"onnx": {"fp32": proof, "fp16": proof}}, "swin_tiny": {"onnx": {"fp32": proof}}}
    found = matrix_rows.proved([replace(ROW, exit_code=1), replace(ROW, target="coreml")], before)
    assert found == {
        "nat_tiny": {"onnx": {"fp16": proof}, "coreml": {"fp32": proof}},
        "swin_tiny": {"onnx": {"fp32": proof}},
    }


def test_an_unknown_variant_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        matrix.main(["--variants", "resnet50"])
    assert "slide_nat_tiny" in capsys.readouterr().err
