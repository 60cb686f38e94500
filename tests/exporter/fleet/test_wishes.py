"""Which jobs a wish names, and that each wish is told once."""

from pathlib import Path

import pytest

from slide_export.core.errors import OUT_OF_TIME, RequestError
from slide_export.fleet.database import Database
from slide_export.fleet.wishes import asked, cancel, file_of
from tests.exporter.fleet.sweeps import job

FIRST, SECOND = job("digits onnx"), job("digits openvino")


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.db"
    with Database.claimed(path) as database:
        database.add_jobs(database.add_plan("text", "0" * 64), [FIRST, SECOND])
    return path


def states(path: Path) -> dict[str, object]:
    with Database.read_only(path) as database:
        return {str(key): state for key, state in database.rows("SELECT key, state FROM job")}


@pytest.mark.parametrize("name", [FIRST.key, FIRST.key[:4], "simulated digits onnx", "* onnx", "simulated * onn?"])
def test_a_job_is_named_by_the_beginning_of_its_key_or_its_stage_and_subject(name: str, planned: Path) -> None:
    assert cancel(planned, [name]) == (1, False)
    assert states(planned) == {FIRST.key: "cancelled", SECOND.key: "planned"}


@pytest.mark.parametrize("name", [FIRST.key[:3], "digits", "* onn", "simulated DIGITS onnx", FIRST.key[1:9]])
def test_a_name_of_no_job_is_refused(name: str, planned: Path) -> None:
    with pytest.raises(RequestError, match="expected jobs that are not settled, found none that"):
        cancel(planned, [name])
    assert set(states(planned).values()) == {"planned"}


def test_without_names_all_that_is_not_settled_is_cancelled_once(planned: Path) -> None:
    assert cancel(planned, []) == (2, False)
    assert set(states(planned).values()) == {"cancelled"}
    assert cancel(planned, []) == (0, False)
    with Database.read_only(planned) as database:
        assert {code for (code,) in database.rows("SELECT exit_code FROM job")} == {OUT_OF_TIME}


def test_a_running_sweep_is_asked_and_told_once(planned: Path) -> None:
    with Database.claimed(planned):
        assert cancel(planned, ["* onnx"]) == (1, True)
        assert set(states(planned).values()) == {"planned"}
    assert asked(planned) == [FIRST.key]
    assert asked(planned) is None


@pytest.mark.parametrize(("text", "keys"), [("[]", []), ("[1]", ["1"]), ("{}", None), ("3", None), ("[", None)])
def test_a_wish_is_a_list_of_keys(text: str, keys: list[str] | None, tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    file_of(path).write_text(text)
    assert asked(path) == keys
    assert not file_of(path).exists()
