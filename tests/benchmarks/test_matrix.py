"""The matrix's bookkeeping: which models are measured together, what a later run keeps, what counts as proved."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import pytest

from slide_export.benchmark import statistics
from slide_export.bundle.store import Bundle
from slide_export.core import typed_json
from slide_export.core.errors import MeasurementError
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchmarkResult, BenchProtocol, Environment
from slide_export.core.request import ExportRequest
from slide_export.models import variants
from slide_export.workflows.all_targets import TargetResult
from tests import bundles
from tests.benchmarks import matrix, matrix_rows
from tests.benchmarks.matrix_rows import Row

OUTPUT = {"name": "logits", "max_abs": 1e-6, "limit_max": 4e-6, "sqnr_db": 130.26}
ROW = Row(
    "nat_tiny", "onnx", "fp32", 0, "", 30.0, 28_000_000, 2**27, {"outputs": [OUTPUT], "evaluator": "ONNX Runtime"}
)
BLANK = bundles.minimal()
PROVED = {
    "nat_tiny": replace(BLANK.parity, outputs=(replace(bundles.OUTPUT, **OUTPUT),), evaluator="ONNX Runtime"),
    "slide_nat_tiny": replace(BLANK.parity, outputs=()),
}
PARITY = {name: typed_json.finite(typed_json.plain(parity)) for name, parity in PROVED.items()}
CALL_MS = {"nat_tiny": 40.0, "slide_nat_tiny": 30.0}
GROUP = ("nat_tiny", "slide_nat_tiny")
UNTIMED = [
    Row("nat_tiny", "onnx", "fp16", 0, "", 31.3, 28, 112, PARITY["nat_tiny"]),
    Row("slide_nat_tiny", "onnx", "fp16", 0, "", 31.3, 29, 116, PARITY["slide_nat_tiny"]),
]


class Fakes:
    """In the place of what takes minutes: exports write small files, and what was exported has `CALL_MS`.

    Attributes:
        failing: variant -> (exit code, message) of an export that makes no bundle.
        error: of the measurement, None where it goes well.
        folder: where everything was written.
        measured: the variants whose bundles were timed, in their order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: dict[str, tuple[int, str]] = {}
        self.measured: list[str] = []
        self.error: MeasurementError | None = None
        monkeypatch.setattr(matrix.multiprocessing, "get_context", lambda _method: SimpleNamespace(Pool=ThreadPool))
        monkeypatch.setattr(matrix, "save_random", self.save)
        monkeypatch.setattr(matrix, "export_all", self.export)
        monkeypatch.setattr(matrix.benchmark, "bench", self.bench)

    def save(self, variant: str, folder: Path) -> Path:
        self.folder, path = folder, folder / f"{variant}.pth"
        path.write_text("weights")
        return path

    def export(
        self, recipe: ExportRequest, targets: Sequence[str], _timeout_s: float, jobs: int
    ) -> tuple[TargetResult, ...]:
        assert [path.name for path in recipe.out.glob("*.pth")] == [recipe.checkpoint.name]  # one at a time on the disk
        assert (recipe.variant, recipe.precision, targets, jobs) == (recipe.checkpoint.stem, "fp16", ("onnx",), 1)
        if recipe.variant in self.failing:
            return (TargetResult("onnx", *self.failing[recipe.variant], 2.0, None),)
        path, size = recipe.out / f"{recipe.variant}-bundle", 28 + GROUP.index(recipe.variant)
        path.mkdir()
        manifest = replace(
            BLANK,
            artifact=replace(BLANK.artifact, bytes=4 * size),
            model=replace(BLANK.model, parameters=size),
            parity=PROVED[recipe.variant],
        )
        return (TargetResult("onnx", 0, "", 31.26, Bundle(path, manifest)),)

    def bench(self, bundles: Sequence[Path]) -> BenchmarkResult:
        assert all(path.is_dir() for path in bundles)
        self.measured = [path.name.removesuffix("-bundle") for path in bundles]
        if self.error:
            raise self.error
        protocol = BenchProtocol(6, 3, 1)
        runs = tuple(map(self.run, self.measured))
        return BenchmarkResult("", Environment("", ""), protocol, runs, tuple(statistics.comparisons(runs, protocol)))

    def run(self, variant: str) -> ArtifactTiming:
        rounds = ((CALL_MS[variant],) * 3,) * 6
        subject = ArtifactInfo(variant, "onnx", "fp16", "nat", variant, (224, 224))
        figures = vars(statistics.summarize(rounds, 1, 0.95))
        told = {"warmup_calls": 1, "stable": True, "load_ms": 1.0, "first_ms": 1.0}
        return ArtifactTiming(subject=subject, evaluator="", batch=1, rounds_ms=rounds, **told, **figures)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(monkeypatch)


def test_what_slides_is_timed_over_its_parent(fakes: Fakes) -> None:
    parent, slide = UNTIMED
    timed = [replace(parent, latency_ms=40.0), replace(slide, latency_ms=30.0, over_parent=0.75)]
    assert matrix.run_group(GROUP, "onnx", "fp16", timed=True) == timed
    assert not fakes.folder.exists()


def test_a_model_alone_has_no_ratio(fakes: Fakes) -> None:
    assert matrix.run_group(GROUP[1:], "onnx", "fp16", timed=True) == [replace(UNTIMED[1], latency_ms=30.0)]


def test_nothing_is_timed_unless_asked_for(fakes: Fakes) -> None:
    assert matrix.run_group(GROUP, "onnx", "fp16", timed=False) == UNTIMED
    assert (fakes.measured, fakes.folder.exists()) == ([], False)


@pytest.mark.parametrize("failed", [0, 1])
def test_a_failed_export_is_its_own_row_and_the_other_one_stays_untimed(fakes: Fakes, failed: int) -> None:
    fakes.failing[GROUP[failed]] = (1, "not equal")
    expected = [*UNTIMED]
    expected[failed] = Row(GROUP[failed], "onnx", "fp16", 1, "not equal", 2.0)
    assert matrix.run_group(GROUP, "onnx", "fp16", timed=True) == expected
    assert (fakes.measured, fakes.folder.exists()) == ([], False)


def test_a_failed_measurement_leaves_the_proofs(fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    fakes.error = MeasurementError("its process crashed")
    assert matrix.run_group(GROUP, "onnx", "fp16", timed=True) == UNTIMED
    assert fakes.measured == list(GROUP)
    assert "not measured: its process crashed" in capsys.readouterr().err
    assert not fakes.folder.exists()


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


def test_a_target_is_asked_for_the_precisions_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "TABLE", "PROVED"):
        monkeypatch.setattr(matrix, name, tmp_path / name)
    ran = []

    def run_group(group: tuple[str, ...], target: str, precision: str, timed: bool) -> list[Row]:
        ran.append((target, precision))
        return [replace(ROW, target=target, precision=precision)]

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
