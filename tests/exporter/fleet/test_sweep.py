"""Plans of the digits through the command line: refused before any work, counted, run, and gone on with."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import slide_export
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.cli import main as cli
from slide_export.core import typed_json
from slide_export.fleet.database import Database
from tests.deploy_examples.conftest import require
from tests.exporter.benchmark.devices.sshd import Device
from tests.targets import missing

TARGETS = ("onnx", "openvino", "coreml", "tensorrt")
DIGITS = Path(slide_export.__file__).parents[1] / "deploy_examples/00_digits"
DIGITS = DIGITS if DIGITS.is_dir() else Path(__file__).parents[3] / "deploy_examples/00_digits"


def written(directory: Path, **parts: str) -> Path:
    """A plan of the digits to onnx, in fp32, with other parts."""
    lines = {"schema": "slide-export/plan/1", "checkpoints": f"[{DIGITS / 'digits.pth'}]", "targets": "[onnx]", **parts}
    path = directory / "plan.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return path


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"targets": "[onnx, abacus]"}, "found 'abacus'"),
        ({"precisions": "[fp32, int4]"}, "onnx int4 of the plan: expected a precision of"),
        ({"precisions": "[int8]"}, "int8 needs images"),
        ({"checkpoints": "['runs/*/best.pth']"}, "expected a checkpoint that matches"),
        ({"checkpoints": "[none.pth]"}, "expected a checkpoint at"),
        ({"options": "{forms: auto}"}, "did you mean form?"),
        ({"options": "{tune: true}"}, "tune is not available in a sweep: what it finds is of the machine"),
        ({"options": "{precision: fp16}"}, "expected precision as the plan's own precisions"),
        ({"exclude": "[{target: onnx}]"}, "found all of them excluded"),
        ({"exclude": "[{tarjet: onnx}]"}, "found 'tarjet'"),
        ({"exclude": "[{target: onyx}]"}, "expected an exclude that takes artifacts away, found {target: onyx}"),
        ({"precisions": "[fp32, fp32]"}, "found export of digits onnx fp32 2 times"),
        ({"bench": "[{rounds: 2}, {rounds: 2}]"}, "found bench of digits 2 times"),
        ({"images": "none"}, "expected images at"),
        ({"options": "{input_size: [[64, 'abc']]}"}, "expected options.input_size[1] to be a whole number"),
        ({"options": "{image_count: [8, many]}"}, "expected options.image_count to be a whole number"),
        ({"evaluate": "{images: empty}"}, "expected images (.avif"),
        ({"images": f"'{DIGITS}/*'"}, "expected images at one place, found"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    parts: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    plan = written(tmp_path, **parts)
    assert cli.run(["sweep", str(plan), "--dry-run"]) == 2
    assert words in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "plan.yaml"}  # no database either


def test_a_dry_run_counts_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(
        tmp_path,
        precisions="[fp32, fp16]",
        options="{form: [auto, shifts]}",
        exclude="[{precision: fp16, form: shifts}]",
        evaluate=f"{{images: {DIGITS / 'heldout'}, shard_images: 240}}",
        bench="[{on: {board: pi5}}]",
    )
    assert cli.run(["sweep", str(plan), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shards = -(-sum(1 for _ in (DIGITS / "heldout").rglob("*.png")) // 240)
    assert {stage: one["jobs"] for stage, one in found["stages"].items()} == {
        "prepare": 2, "export": 3, "verify": 3, "reference": 2 * shards, "evaluate": 3 * shards, "merge": 3, "bench": 1,
    }  # fmt: skip
    assert found["seconds"] is None  # nothing was run before
    assert any('"board:pi5":1.0' in worker_class for worker_class in found["classes"])


def test_a_changed_plan_is_gone_on_with_on_demand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(tmp_path)
    command = ["sweep", str(plan), "--workers", "0", "--stop-after", "0"]
    assert cli.run(command) == 75
    plan.write_text(plan.read_text() + "precisions: [fp16]\n")
    assert cli.run(command) == 2
    assert "--resume goes on with the new one" in capsys.readouterr().err
    assert cli.run([*command, "--resume"]) == 75
    assert cli.run(["sweep", "status", str(tmp_path / "fleet.db"), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]
    assert stages["export"] == {"planned": 1}  # of the new plan alone
    assert cli.run(["sweep", "cancel", str(tmp_path / "fleet.db"), "verify *"]) == 0
    with Database.read_only(tmp_path / "fleet.db") as database:
        states = Counter(database.rows("SELECT stage, state FROM job"))
    assert states[("verify", "cancelled")] == 2
    assert states[("export", "planned")] == 2


def test_places_that_take_nothing_are_refused_before_any_work(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = written(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert cli.run(["sweep", str(plan), "--workers", "0"]) == 2
    assert f"nothing can be written in {small_disk}" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere.db"
    assert cli.run(["sweep", str(plan), "--workers", "0", "--database", str(elsewhere)]) == 74
    assert "Read-only file system" in capsys.readouterr().err
    assert not elsewhere.exists()


@pytest.mark.slow
def test_a_sweep_s_accuracy_is_the_serial_one_bit_for_bit_and_is_resumed_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIDE_EXPORT_FLEET_CACHE", str(tmp_path / "cache"))
    plan = written(
        tmp_path,
        targets="[onnx, openvino]",
        evaluate=f"{{images: {DIGITS / 'heldout'}, shard_images: 192}}",
        bench="[{rounds: 2, calls: 2}]",
    )
    assert cli.run(["sweep", str(plan), "--workers", "0"]) == 0
    with Database.read_only(tmp_path / "fleet.db") as database:
        tried = database.rows("SELECT count(*) FROM attempt")
        merged = dict(database.rows("SELECT subject, result FROM job WHERE stage = 'merge'"))
        outputs = dict(database.rows("SELECT subject, output FROM job WHERE stage = 'export'"))
        ((references,),) = database.rows("SELECT count(*) FROM job WHERE stage = 'reference' AND state = 'done'")
    assert references == 3
    kept = {path.name for path in (tmp_path / "fleet/cas").rglob("*") if path.is_file()}
    with Database.read_only(tmp_path / "fleet.db") as database:
        gone = {row[0] for row in database.rows("SELECT output FROM job WHERE stage = 'reference'")}
    assert not gone & kept  # the trained model's answers, once their last reader was done
    for subject, output in outputs.items():
        bundle = tmp_path / "cache/unpacked" / str(output)
        (serial,) = slide_export.verify_all([bundle], against=DIGITS / "digits.pth", evaluation=DIGITS / "heldout")
        assert serial.accuracy is not None
        found = typed_json.read(AccuracyReport, json.loads(str(merged[subject])))
        assert found == serial.accuracy
    assert cli.run(["sweep", str(plan), "--workers", "0"]) == 0
    with Database.read_only(tmp_path / "fleet.db") as database:
        assert database.rows("SELECT count(*) FROM attempt") == tried
    assert cli.run(["sweep", "report", str(tmp_path / "fleet.db"), "-o", str(tmp_path / "report.html")]) == 0
    assert "digits openvino fp32" in (tmp_path / "report.html").read_text()


@missing("onnx")
@missing("openvino")
@missing("coreml")
@missing("tensorrt")
@pytest.mark.slow
def test_the_digits_from_a_plan_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pairs of four targets and precisions that exist, accuracy in shards, speed over ssh."""
    require("openssh-client", "openssh-server", "rsync")
    monkeypatch.setenv("SLIDE_EXPORT_FLEET_CACHE", str(tmp_path / "cache"))
    plan = written(
        tmp_path,
        targets=f"[{', '.join(TARGETS)}]",
        precisions="[fp32, fp16, int8, w8]",
        exclude="[{target: tensorrt, precision: w8}, {target: coreml, precision: int8}]",
        images=str(DIGITS / "heldout"),
        evaluate=f"{{images: {DIGITS / 'heldout'}, shard_images: 288, max_drop: 2.0}}",
        bench="[{targets: [onnx, openvino], precisions: [fp32, int8], rounds: 2, calls: 2}]",
    )
    (tmp_path / "device").mkdir()
    device = Device(tmp_path / "device")
    monkeypatch.setenv("SLIDE_EXPORT_SSH", device.options)
    try:
        code = cli.run(["sweep", str(plan), "--workers", "2", "--device", device.url])
        assert device.left() == []
    finally:
        device.stop()
    assert code == 0, capsys.readouterr().err
    with Database.read_only(tmp_path / "fleet.db") as database:
        states = Counter(database.rows("SELECT stage, state FROM job"))
        ((sitting,),) = database.rows("SELECT result FROM job WHERE stage = 'bench'")
    shards = -(-sum(1 for _ in (DIGITS / "heldout").rglob("*.png")) // 288)
    pairs = 4 * len(TARGETS) - 2
    assert states == {
        ("prepare", "done"): 1, ("export", "done"): pairs, ("verify", "done"): pairs, ("reference", "done"): shards,
        ("evaluate", "done"): pairs * shards, ("merge", "done"): pairs, ("bench", "done"): 1,
    }  # fmt: skip
    measured = json.loads(str(sitting))["result"]
    assert measured["environment"]["device"] == device.url
    assert len(measured["runs"]) == 4
    outs = [tmp_path / f"report.{kind}" for kind in ("html", "md", "csv")]
    command = ["sweep", "report", str(tmp_path / "fleet.db")]
    assert cli.run([*command, *(word for out in outs for word in ("-o", str(out)))]) == 0
    for out in outs:
        assert "coreml" in out.read_text()
    assert len(outs[2].read_text().splitlines()) >= 1 + pairs
