"""The matrix's bookkeeping: which models are measured together, what a later run keeps, what counts as proved."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from slide_export.core import typed_json
from slide_export.fleet import plan
from slide_export.fleet.database import Database
from slide_export.fleet.job import Answer, Job, State
from slide_export.models import variants
from tests import bundles
from tests.benchmarks import matrix, matrix_code, matrix_rows, matrix_sweep
from tests.benchmarks.matrix_rows import Row

OUTPUT = {"name": "logits", "max_abs": 1e-6, "limit_max": 4e-6, "sqnr_db": 130.26}
ROW = Row(
    "nat_tiny", "onnx", "fp32", 0, "", 30.0, 28_000_000, 2**27, {"outputs": [OUTPUT], "evaluator": "ONNX Runtime"}
)
BLANK = bundles.minimal()
GROUP = ("nat_tiny", "slide_nat_tiny")
CELLS = [("onnx", "fp16"), ("coreml", "fp16")]


def export(variant: str, target: str = "onnx") -> Job:
    options = {"target": target, "export": {"name": variant, "precision": "fp16"}}
    subject = f"{variant} {target} fp16"
    return Job.of("export", 1, subject, {"slot": 1}, options=options, inputs={}, environment={})


def written(path: Path, ends: Sequence[tuple[Job, State, Answer | None]]) -> None:
    """A sweep's database with jobs and what came of them."""
    with Database.claimed(path) as database:
        database.add_jobs(database.add_plan("a plan", "0" * 64), [job for job, *_ in ends])
        with database.transaction() as db:
            database.settle(db, [(job.key, state, answer) for job, state, answer in ends])


def sitting(jobs: Sequence[Job], times: Sequence[float], ratio: float) -> tuple[Job, State, Answer]:
    """A measurement of exports, the later one over the first."""
    runs = [{"p50_ms": {"value": time}} for time in times]
    compared = [{"a": len(jobs) - 1, "b": 0, "ratio": {"value": ratio}}] if len(jobs) > 1 else []
    told = {"exports": [job.key for job in jobs], "result": {"runs": runs, "comparisons": compared}}
    job = Job.of("bench", 1, "all", {"slot": 1}, options={}, inputs={}, environment={})
    return job, "done", Answer("done", result=told)


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the manifest of every artifact says of its proof."""
    manifest = bundles.minimal()
    monkeypatch.setattr(matrix_sweep, "_manifest", lambda _store, _output: manifest)
    found: dict[str, object] = typed_json.finite(typed_json.plain(manifest.parity))
    return found


def test_rows_are_the_exports_of_a_sweep(tmp_path: Path, parity: dict[str, object]) -> None:
    parent, slide, other = export("nat_tiny"), export("slide_nat_tiny"), export("nat_tiny", "coreml")
    made = Answer("done", output="0" * 64, kind="bundle", seconds=31.26)
    failed = Answer("refused", 1, "not equal", output="1" * 64, seconds=2.0)
    ends = [(parent, "done", made), (slide, "done", made), (other, "refused", failed)]
    written(tmp_path / "fleet.db", [*ends, sitting([parent, slide], [40.0, 30.0], 0.75)])  # type: ignore[list-item]
    parent_row = Row("nat_tiny", "onnx", "fp16", 0, "", 31.3, BLANK.model.parameters, 7, parity, latency_ms=40.0)
    assert matrix_sweep.rows(tmp_path / "fleet.db", tmp_path / "store") == [
        parent_row,
        replace(parent_row, variant="slide_nat_tiny", latency_ms=30.0, over_parent=0.75),
        Row("nat_tiny", "coreml", "fp16", 1, "not equal", 2.0),
    ]


def test_what_could_not_be_begun_is_no_end(tmp_path: Path) -> None:
    written(tmp_path / "fleet.db", [(export("nat_tiny"), "blocked", None)])
    (row,) = matrix_sweep.rows(tmp_path / "fleet.db", tmp_path / "store")
    assert not row.finished


def test_a_group_is_a_plan_of_its_own(tmp_path: Path) -> None:
    text = yaml.safe_dump(matrix.plan_of(GROUP, CELLS, ["onnx"]))
    found = plan.parse(text, "plan.yaml")
    assert [one.path for one in found.checkpoints] == ["nat_tiny.pth", "slide_nat_tiny.pth"]
    assert (found.targets, found.precisions) == (("onnx", "coreml"), ("fp16",))
    assert [(part.targets, part.precisions, part.together) for part in found.bench] == [(("onnx",), ("fp16",), True)]
    assert set(found.pins) == {"family of nat_tiny", "family of slide_nat_tiny", "onnx", "coreml"}


@pytest.mark.parametrize(
    ("group", "target", "batch"),
    [
        (GROUP, "onnx", None),
        (GROUP, "litert", 1),
        (("boat_cswin_tiny",), "litert", 2),
        (("boat_cswin_tiny",), "coreml", None),  # it fixes its own
        (("mv_swin_t",), "onnx", None),
        (("mv_swin_t",), "coreml", 1),
    ],
)
def test_a_batch_is_fixed_only_where_a_target_takes_no_other(
    group: tuple[str, ...], target: str, batch: int | None
) -> None:
    assert matrix.batch_of(group, target) == batch


def test_targets_of_a_plan_have_each_its_batch() -> None:
    text = yaml.safe_dump(matrix.plan_of(GROUP, [("onnx", "fp32"), ("litert", "fp32")], []))
    found = plan.parse(text, "plan.yaml")
    assert found.options["batch"] == (None, 1)
    assert [dict(one) for one in found.exclude] == [{"target": "onnx", "batch": 1}, {"target": "litert", "batch": None}]


@pytest.mark.parametrize("exit_code", [0, 70])
def test_nothing_of_a_finished_group_stays(exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(matrix, "ROOM", tmp_path)
    monkeypatch.setattr(matrix.multiprocessing, "get_context", lambda _method: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(matrix, "save_random", _saved)
    monkeypatch.setattr(matrix.sweeps, "run", lambda path, *_: ran.append(path))
    monkeypatch.setattr(matrix.matrix_sweep, "rows", lambda *_: [replace(ROW, exit_code=exit_code)])
    (row,) = matrix.run_group(GROUP, CELLS, [])
    assert row.code == matrix_code.code_of("nat_tiny", "onnx")
    assert ran == [tmp_path / "nat_tiny" / "plan.yaml"]
    left = {"nat_tiny.pth", "slide_nat_tiny.pth", "plan.yaml", "scratch"}
    assert {path.name for path in tmp_path.rglob("nat_tiny/*")} == (left if exit_code else set())


def _saved(variant: str, folder: Path) -> Path:
    path = folder / f"{variant}.pth"
    path.write_text("weights")
    return path


def test_another_code_makes_a_row_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(ROW, code=matrix_code.code_of(ROW.variant, ROW.target))
    assert matrix._is_done(here, [])
    assert matrix._is_done(ROW, [])  # of an earlier day, which told none
    assert not matrix._is_done(here, ["onnx"])
    monkeypatch.setattr(matrix_code, "of_backend", lambda target: f"another {target}")
    assert not matrix._is_done(here, [])


def test_a_model_is_measured_with_the_one_that_replaces_its_attention() -> None:
    found = matrix.groups(("slide_nat_tiny", "cswin_base_384", "nat_tiny"))
    assert found == [("nat_tiny", "slide_nat_tiny"), ("cswin_base_384",)]
    assert sorted(sum(matrix.groups(variants()), ())) == sorted(variants())


def test_the_last_row_of_a_key_counts_and_a_crash_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    crashed = replace(ROW, exit_code=70, message="out of memory")
    matrix_rows.append(path, [crashed, replace(ROW, target="coreml", exit_code=1)])
    assert [row.finished for row in matrix_rows.read(path)] == [False, True]
    refused = replace(ROW, exit_code=2, message="expected a model that ncnn can express")
    assert (refused.finished, refused.verdict) == (True, "refused: expected a model that ncnn can express")
    assert [row.verdict for row in matrix_rows.read(path)] == ["failed: out of memory", "not equal"]
    matrix_rows.append(path, [ROW])
    assert {row.target: row.exit_code for row in matrix_rows.read(path)} == {"onnx": 0, "coreml": 1}
    assert json.loads(path.read_text().splitlines()[-1]) == asdict(ROW)


def test_what_is_done_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "TABLE", "PROVED"):
        monkeypatch.setattr(matrix, name, tmp_path / name)
    ran = []

    def run_group(group: tuple[str, ...], cells: list[tuple[str, str]], timed: list[str]) -> list[Row]:
        ran.append((group, cells, timed))
        return [replace(ROW, variant=variant, target=t, precision=p) for variant in group for t, p in cells]

    monkeypatch.setattr(matrix, "run_group", run_group)
    matrix_rows.append(tmp_path / "ROWS", [ROW])
    asked = ["--variants", "nat_tiny", "--targets", "onnx", "openvino", "--precisions", "fp32", "--latency", "no"]
    assert matrix.main(asked) == 0
    assert ran == [(("nat_tiny",), [("openvino", "fp32")], [])]
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

    def run_group(group: tuple[str, ...], cells: list[tuple[str, str]], timed: list[str]) -> list[Row]:
        ran.append((group, cells, timed))
        return [replace(ROW, target=target, latency_ms=12.5 if target in timed else None) for target, _ in cells]

    monkeypatch.setattr(matrix, "run_group", run_group)
    monkeypatch.setattr(matrix, "can_be_timed", lambda target: target == "onnx")
    matrix_rows.append(tmp_path / "ROWS", [ROW, replace(ROW, target="coreml")])
    asked = ["--variants", "nat_tiny", "--targets", "onnx", "coreml", "--precisions", "fp32"]
    assert [matrix.main(asked), matrix.main(asked)] == [0, 0]
    assert ran == [(("nat_tiny",), [("onnx", "fp32")], ["onnx"])]


def test_a_target_is_asked_for_the_precisions_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "TABLE", "PROVED"):
        monkeypatch.setattr(matrix, name, tmp_path / name)
    ran = []

    def run_group(_group: Sequence[str], cells: Sequence[tuple[str, str]], _timed: Sequence[str]) -> list[Row]:
        ran.extend(cells)
        return [replace(ROW, target=target, precision=precision) for target, precision in cells]

    monkeypatch.setattr(matrix, "run_group", run_group)
    asked = ["--variants", "nat_tiny", "--targets", "onnx", "ncnn", "--precisions", "--latency", "no"]
    assert matrix.main(asked) == 0
    assert ran == [("onnx", "fp32"), ("onnx", "fp16"), ("ncnn", "fp32"), ("ncnn", "w16")]


def test_a_lost_proof_leaves_the_table_and_others_stay() -> None:
    proof = {"sqnr_db": 130.3, "evaluator": "ONNX Runtime"}
    before = {"nat_tiny": {"onnx": {"fp32": proof, "fp16": proof}}, "swin_tiny": {"onnx": {"fp32": proof}}}
    found = matrix_rows.proved([replace(ROW, exit_code=1), replace(ROW, target="coreml")], before)
    assert found == {
        "nat_tiny": {"onnx": {"fp16": proof}, "coreml": {"fp32": proof}},
        "swin_tiny": {"onnx": {"fp32": proof}},
    }


def test_the_table_says_how_long_and_how_much_of_the_parents_time() -> None:
    timed = replace(ROW, latency_ms=30.04, over_parent=0.754)
    assert matrix_rows.markdown([timed], "a machine").endswith("| 130 dB | 30.0 | 0.75 | 30 |\n")


def test_an_unknown_variant_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        matrix.main(["--variants", "resnet50"])
    assert "slide_nat_tiny" in capsys.readouterr().err
