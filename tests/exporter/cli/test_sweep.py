"""Durations, options that contradict each other, and Ctrl-C: once waits, twice kills."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from slide_export.cli import main as cli
from slide_export.cli.sweep import DATABASE, Duration, _options
from slide_export.fleet.clusters import memory_gib

GIVEN = {
    "scheduler": None, "workers": 2, "offers": (), "device": None, "retry": (), "stop_after_s": None,
    "wait_for_workers_s": 600.0, "resume": False, "database": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("30min", 1800),
        ("1.5h", 5400),
        ("2d", 172800),
        ("0", 0),
        (7, 7),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_a_number_with_its_unit(text: str | float, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "h", "1,5h", "-1", "1 h", "1w", "1.h", "inf", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a duration such as 90, 30m or 1h"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(("workers", "share"), [(1, 1), (2, 2), (4, 4), (0, 1)])
def test_memory_is_parted_among_the_workers_of_this_machine(workers: int, share: int) -> None:
    found = _options(Path("plan.yaml"), {**GIVEN, "workers": workers})
    assert found.most_gib == pytest.approx(memory_gib() / share)
    assert (found.elsewhere, found.stop_after_s) == (False, float("inf"))


def test_a_schedulers_machines_have_their_own_memory() -> None:
    found = _options(Path("plan.yaml"), {**GIVEN, "workers": None, "scheduler": "tls://rack:1", "stop_after_s": 5.0})
    assert (found.elsewhere, found.most_gib, found.stop_after_s) == (True, None, 5.0)


@pytest.mark.parametrize("more", [{"workers": 0}, {"offers": ("gpu=1",)}, {"device": "ssh://board"}])
def test_a_scheduler_has_its_own_workers(more: dict[str, object]) -> None:
    with pytest.raises(click.UsageError, match="expected --scheduler alone"):
        _options(Path("plan.yaml"), {**GIVEN, "workers": None, "scheduler": "tls://rack:1", **more})


def test_states_are_tried_again_by_name() -> None:
    assert _options(Path("plan.yaml"), {**GIVEN, "retry": ("failed", "poison", "")}).retry == ("failed", "poison")
    with pytest.raises(
        click.UsageError, match="expected states of failed, poison, refused, cancelled to retry, found 'done'"
    ):
        _options(Path("plan.yaml"), {**GIVEN, "retry": ("failed", "done")})


INTERRUPTED = """
import signal
from slide_export.cli.sweep import _wishes
before = signal.getsignal(signal.SIGINT)
with _wishes() as wishes:
    print(wishes.no_more, wishes.at_once)
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
        print(wishes.no_more, wishes.at_once)
print(signal.getsignal(signal.SIGINT) is before)
"""


def test_an_interruption_waits_and_a_second_one_kills() -> None:
    done = subprocess.run((sys.executable, "-c", INTERRUPTED), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False", "True False", "True True", "True"]
    assert done.stderr.count("interrupted: jobs that run are waited for") == 1


def test_a_plan_needs_no_verb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sweep", str(tmp_path / "none.yaml"), "--dry-run"]) == 2
    assert "expected the plan of a sweep" in capfd.readouterr().err
    assert cli.run(["sweep", "--help"]) == 0
    assert "certificates" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["report.pdf", "report", "rows.csv.gz"])
def test_a_report_of_another_ending_is_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sweep", "report", str(DATABASE), "--out", name]) == 2
    assert f"expected a report of .html, .md or .csv, found {name}" in capfd.readouterr().err
