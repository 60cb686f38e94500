"""What a job takes and gives: files as they were planned, the first answer that was committed, and what differs."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import cas
from slide_export.fleet.job import Answer
from slide_export.fleet.stages import Stage
from slide_export.fleet.workspace import Workspace, _unchanged

KEY = "a" * 64
ENDED = Answer("done", 0, "", result={"number": 1}, worker="w1", peak_mib=5.0)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SLIDE_EXPORT_FLEET_CACHE", str(tmp_path / "cache"))
    return str(tmp_path / "store")


def order(store: str | None, inputs: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told = {"key": KEY, "store": store, "spec": {"inputs": inputs or {}}, "sources": {}, "outputs": {}, "passing": []}
    return {**told, **more}


@pytest.mark.parametrize("outcome", ["done", "refused"])
def test_the_first_answer_counts_and_a_second_differs_where_it_does(outcome: Any, url: str) -> None:
    first = replace(ENDED, outcome=outcome)
    with Workspace(order(url)) as space:
        assert space.committed() is None
        assert space.commit(first, deterministic=True) == first
        again = space.commit(replace(first, seconds=9.0, worker="w2", peak_mib=7.0), deterministic=True)
        assert (again.ours, again.differs, again.peak_mib, again.seconds) == (False, (), 7.0, 0.0)
        other = replace(first, result={"number": 2}, exit_code=1)
        assert space.commit(other, deterministic=True).differs == ("exit_code", "result")
        assert space.commit(other, deterministic=False).differs == ()
        committed = space.committed()
        assert committed is not None
        assert (committed.result, committed.ours, committed.peak_mib) == ({"number": 1}, False, None)


@pytest.mark.parametrize("outcome", ["failed", "crashed", "timeout", "store", "mismatch", "absent", "lost"])
def test_an_end_that_may_be_another_elsewhere_is_not_committed(outcome: Any, url: str) -> None:
    with Workspace(order(url)) as space:
        ended = replace(ENDED, outcome=outcome)
        assert space.commit(ended, deterministic=True) == ended
        assert space.committed() is None


def test_an_output_goes_to_the_store_and_counts_while_it_is_there(url: str) -> None:
    stage = Stage(1, kind="bundle", ephemeral=True)
    with Workspace(order(url)) as space:
        (space.place / "out").mkdir()
        (space.place / "out" / "a.txt").write_text("1")
        made = space.uploaded(ENDED, "out", stage)
        assert (made.kind, made.ephemeral, made.bytes > 0) == ("bundle", True, True)
        assert made.output is not None
        assert cas.open(url).has(made.output)
        space.commit(made, deterministic=True)
        assert space.committed() is not None
        cas.open(url).remove(made.output)
        assert space.committed() is None  # it is made again
        instead = replace(made, output="b" * 64)
        assert space.commit(instead, deterministic=True).output == "b" * 64
        assert space.uploaded(ENDED, None, stage) == ENDED


def test_without_a_store_nothing_is_kept() -> None:
    with Workspace(order(None)) as space:
        assert space.committed() is None
        assert space.commit(ENDED, deterministic=True) == ENDED
        assert space.uploaded(ENDED, "out", Stage(1)) == ENDED


def test_inputs_lie_at_the_same_paths_on_every_machine(url: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.pth"
    checkpoint.write_text("1")
    status = checkpoint.stat()
    source = {"name": "a.pth", "path": str(checkpoint), "seen": [status.st_size, status.st_mtime_ns]}
    with Workspace(order(url)) as space:
        (space.place / "out").mkdir()
        made = space.uploaded(ENDED, "out", Stage(1)).output
    inputs = {"checkpoint": "SHA", "counts": ["one", "two"], "bundle": "gone"}
    told = order(url, inputs, sources={"SHA": source}, outputs={"one": made, "two": None, "gone": "c" * 64})
    with Workspace({**told, "passing": ["gone"]}) as space:
        links = space.links()
    assert list(links) == ["in/checkpoint/a.pth", "in/counts/0"]  # one has no output, one was kept only for a while
    assert links["in/checkpoint/a.pth"] == str(checkpoint)


def test_a_file_is_taken_as_it_was_planned_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_text("1")
    os.utime(file, ns=(5, 5))
    assert _unchanged(file, [1, 5]) == file
    assert _unchanged(file, []) == file  # of a folder nothing was seen
    for seen in ([2, 5], [1, 6]):
        with pytest.raises(RequestError, match="it has changed since: run the same command again"):
            _unchanged(file, seen)
    with pytest.raises(RequestError, match="the system says: No such file"):
        _unchanged(tmp_path / "none", [])
