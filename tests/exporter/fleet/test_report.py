"""What a sweep came to, as its database has it: fronts of each sitting, failures alike together, last words."""

import csv
import io
from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import report
from slide_export.fleet.database import Database
from slide_export.fleet.report_rows import read
from tests.exporter.fleet import reported
from tests.exporter.fleet.reported import PAIRS


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "fleet.db"
    reported.write(path)
    return path


@pytest.fixture(scope="module")
def pages(database: Path) -> dict[str, str]:
    outs = tuple(database.with_name(f"report{ending}") for ending in report.FORMATS)
    assert report.write(database, outs) == outs
    return {out.suffix: out.read_text() for out in outs}


def test_each_artifact_has_its_accuracy_and_proofs(database: Path) -> None:
    rows = read(database)
    assert len(rows.artifacts) == 2 * len(PAIRS) + 3
    first = rows.artifacts[1]
    assert (first.subject, first.target, first.precision) == ("digits onnx int8", "onnx", "int8")
    assert (first.state, first.verified, first.accuracy_state, first.loss) == ("done", ["done"], "done", 0.4)
    lossy = rows.artifacts[5]
    assert (lossy.accuracy_state, lossy.fit) == ("refused", False)


def test_fronts_are_of_one_sitting_and_of_what_is_fit(database: Path) -> None:
    pi5, rack, *_ = read(database).sittings
    assert (pi5.subject, pi5.device) == ("digits board=pi5", "pi5, Cortex-A76")
    chosen = {run.artifact.subject for run in pi5.runs if run.on_front}
    # OpenVINO's int8 is the fastest and loses too much; fp32 and w8 of ONNX are beaten by OpenVINO's fp16.
    assert chosen == {"digits onnx int8", "digits onnx w8", "digits openvino fp16"}
    assert next(run.artifact.subject for run in pi5.runs) == "digits openvino int8"
    beaten = {run.artifact.subject: run.dominated_by.subject for run in pi5.runs if run.dominated_by}
    assert beaten == {"digits onnx fp32": "digits openvino fp16", "digits openvino fp32": "digits openvino fp16"}
    # On the other machine ONNX is faster in fp32: the front is another.
    assert "digits onnx fp32" in {run.artifact.subject for run in rack.runs if run.on_front}
    assert rack.warnings == ("another process took a third of the processor",)


def test_failures_that_differ_in_numbers_alone_are_one_row(database: Path) -> None:
    parity = next(one for one in read(database).failures if "parity" in one.message)
    assert (parity.stage, parity.state) == ("export", "refused")
    assert parity.subjects == ("digits coreml layer3", "digits coreml layer11")
    assert read(database).failures[-1].state == "blocked"


def test_a_poison_job_tells_its_workers_and_last_words(database: Path, pages: dict[str, str]) -> None:
    (poison,) = read(database).poison
    assert [worker for _, worker, _ in poison.attempts] == ["rack-1", "rack-2", "rack-1"]
    for page in (pages[".html"], pages[".md"]):
        assert "digits tensorrt int8" in page
        assert "signal 9: Out of memory" in page


def test_a_page_loads_nothing_and_says_names_as_text(pages: dict[str, str]) -> None:
    page = pages[".html"]
    assert "flowers &lt;b&gt;&amp;" in page
    assert "<b>&amp; onnx" not in page
    assert not [word for word in ("src=", "http://", "https://", "@import", "url(") if word in page]
    assert page.count('class="plane"') == 8  # two checkpoints, two devices, accuracy and size


def test_rows_for_programs_are_those_of_the_database(database: Path, pages: dict[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(pages[".csv"])))
    assert len(rows) == 2 * 2 * len(PAIRS) + 3
    (one,) = [row for row in rows if row["artifact"] == "digits onnx int8" and row["device"].startswith("pi5")]
    assert (float(one["p50_ms"]), float(one["drop"]), one["on_front"]) == (2.6, 0.4, "True")
    assert {row["state"] for row in rows if not row["device"]} == {"refused", "poison"}


def test_a_finding_is_told(pages: dict[str, str]) -> None:
    assert "a second execution differs in output" in pages[".md"]


def test_a_sweep_without_measurements_has_a_page(tmp_path: Path) -> None:
    with Database.claimed(tmp_path / "fleet.db") as database:
        database.add_plan("", "0" * 64)
    report.write(tmp_path / "fleet.db", (tmp_path / "report.md",))
    assert "0 of 0 done" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("name", ["report.txt", "report", "report.pdf"])
def test_another_ending_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=r"ends in \.html, \.md, \.csv"):
        report.write(tmp_path / "none.db", (tmp_path / name,))


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected the database of a sweep"):
        report.write(tmp_path / "none.db", (tmp_path / "report.md",))
