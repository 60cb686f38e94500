"""A job that measures is alone on its machine, and no stream of small jobs keeps it waiting."""

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from slide_export.fleet import machine

SMALL, WORKERS = 12, 3


def test_what_measures_overlaps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.PLACE, str(tmp_path))
    spans: dict[str, list[tuple[float, float]]] = {"small": [], "alone": []}

    def run(kind: str, times: int) -> None:
        """Run jobs of one kind, one after the other, and note when each ran."""
        for _ in range(times):
            with machine.alone() if kind == "alone" else machine.beside_others():
                start = time.monotonic()
                time.sleep(0.02)
                spans[kind].append((start, time.monotonic()))

    threads = [threading.Thread(target=run, args=("small", SMALL)) for _ in range(WORKERS)]
    threads += [threading.Thread(target=run, args=("alone", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    every = [*spans["small"], *spans["alone"]]
    assert len(every) == SMALL * WORKERS + 3
    for start, end in spans["alone"]:
        assert [one for one in every if one != (start, end) and one[0] < end and start < one[1]] == []
    assert min(start for start, _ in spans["alone"]) < max(start for start, _ in spans["small"])  # not the last of all
    small = sorted(spans["small"])
    assert any(later[0] < earlier[1] for earlier, later in pairwise(small))  # they do overlap


def test_a_board_is_measured_alone_beside_its_host_s_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.PLACE, str(tmp_path))
    board, other, back = "ssh://pi@board", "adb:0123", "ssh://me@localhost:22"
    with machine.alone(board):
        assert _free(board, other) == {board: False, other: True}
        with machine.beside_others():
            assert _free(back) == {back: False}  # which is this machine
        assert _free(back) == {back: True}


def _free(*devices: str) -> dict[str, bool]:
    """Which devices a job could measure now."""
    found = {}
    for device in devices:
        thread = threading.Thread(target=_take, args=(device, entered := threading.Event()), daemon=True)
        thread.start()
        found[device] = entered.wait(0.3)
    return found


def _take(device: str, entered: threading.Event) -> None:
    with machine.alone(device):
        entered.set()
