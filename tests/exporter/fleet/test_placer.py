"""dask as a disposable placer: what dies with it, what it forgets, and what it listens on. Each fault is caused."""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from slide_export.core.errors import DeviceError, RequestError, TimeLimitError
from slide_export.fleet import certificates, clusters
from slide_export.fleet.engine import InlineEngine
from slide_export.fleet.placer import PROMPT_S, DaskEngine, fits
from slide_export.fleet.plan import Limits
from slide_export.fleet.wishes import Wishes
from tests.exporter.fleet import processes
from tests.exporter.fleet.client import SLOTS, jobs
from tests.exporter.fleet.sweeps import attempts, job, rows, sweep

FAST = Limits(timeout_s=60)
GONE_S = 2.0  # in which nothing of a killed or cancelled sweep may be left


def test_a_worker_fits_as_often_as_its_scarcest_offer_lasts() -> None:
    offer = {"slot": 4.0, "memory_gib": 7.0, "board:pi5": 1.0}
    assert fits(offer, '{"slot":1}') == 4
    assert fits(offer, '{"memory_gib":2,"slot":1}') == 3
    assert fits(offer, '{"board:pi5":1,"slot":1}') == 1
    assert fits(offer, '{"gpu":1,"slot":1}') == 0


def test_a_scheduler_that_stays_away_ends_the_sweep_with_75(tmp_path: Path) -> None:
    def reconnect() -> None:
        raise OSError("nobody listens")

    client = SimpleNamespace(status="closed", close=lambda timeout: None)
    with pytest.raises(TimeLimitError, match="start it, and run the same command again") as ended:
        sweep(tmp_path / "fleet.db", [job("a")], DaskEngine(client, reconnect, give_up_s=0.1))
    assert ended.value.exit_code == 75
    assert rows(tmp_path / "fleet.db")["a"][0] == "planned"


@pytest.mark.slow
@pytest.mark.parametrize("killers", [1, 8])
def test_exactly_the_jobs_that_kill_workers_are_poison(killers: int, tmp_path: Path) -> None:
    named = [job(f"killer {n}", act="die") for n in range(killers)] + [job(f"good {n}") for n in range(60 - killers)]
    random.Random(killers).shuffle(named)
    with clusters.embedded(SLOTS) as engine:
        end = sweep(tmp_path / "fleet.db", named, engine)
    assert end.states == {"poison": killers, "done": 60 - killers}
    tried = attempts(tmp_path / "fleet.db")
    assert all(outcomes == ["died"] * 3 for name, outcomes in tried.items() if name.startswith("killer"))


@pytest.mark.slow
def test_a_worker_that_dies_once_costs_one_attempt_and_the_child_s_faults_cost_no_worker(tmp_path: Path) -> None:
    url, path = str(tmp_path / "store"), tmp_path / "fleet.db"
    faults = [
        job("dies once", act="die once", mark=str(tmp_path / "mark")),
        job("crashes", act="crash", child=True),
        job("hangs", act="hang", child=True),
        job("dies in its child", act="die", child=True),
    ]
    with clusters.embedded(SLOTS) as engine:
        before = {worker["pid"] for worker in _asked(engine).values()}
        end = sweep(path, faults[1:], engine, url, Limits(timeout_s=5))
        assert {worker["pid"] for worker in _asked(engine).values()} == before
        assert end.states == {"poison": 2, "failed": 1}
        sweep(path, faults[:1], engine, url, FAST)
        assert engine._client.scheduler_comm.interval == PROMPT_S  # dask has it where we set it
    assert attempts(path) == {
        "crashes": ["crashed"] * 2, "hangs": ["timeout"], "dies in its child": ["crashed"] * 2,
        "dies once": ["died", "done"],
    }  # fmt: skip


@pytest.mark.slow
def test_a_killed_client_loses_nothing_and_runs_at_most_its_slots_twice(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, kills=10, seed=0)


def _kill_and_resume(tmp_path: Path, kills: int, seed: int) -> None:
    """Kill a client at random moments of one sweep, and compare with a run that nothing disturbed."""
    path, store = tmp_path / "fleet.db", tmp_path / "store"
    command = [*processes.CLIENT, str(path), str(store), "40", "0.3"]
    moments = random.Random(seed)
    for _ in range(kills):
        with processes.client(command) as process:
            time.sleep(moments.uniform(0.0, 1.5))
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            _, left = psutil.wait_procs(workers, GONE_S)
            assert left == []
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    calm = tmp_path / "calm.db"
    sweep(calm, jobs(40, 0.3), InlineEngine(), str(tmp_path / "other"))
    assert rows(path) == rows(calm)
    twice = Counter(len(outcomes) for outcomes in attempts(path).values())
    assert sum(count * (times - 1) for times, count in twice.items()) <= kills * SLOTS


@pytest.mark.slow
def test_a_scheduler_that_dies_is_waited_for(tmp_path: Path) -> None:
    """Scheduler and workers as their supervisors run them: started again whenever they end."""
    port = processes.free_port()
    with processes.supervised(port) as (scheduler, _):
        command = [
            *processes.CLIENT,
            str(tmp_path / "fleet.db"),
            str(tmp_path / "store"),
            "40",
            "0.3",
            f"tcp://127.0.0.1:{port}",
        ]
        with processes.client(command) as process:
            time.sleep(2)
            scheduler.kill()
            output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    calm = tmp_path / "calm.db"
    sweep(calm, jobs(40, 0.3), InlineEngine(), str(tmp_path / "other"))
    assert rows(tmp_path / "fleet.db") == rows(calm), output
    assert {outcome for one in attempts(tmp_path / "fleet.db").values() for outcome in one[:-1]} <= {"lost", "died"}


@pytest.mark.slow
def test_every_socket_is_on_this_machine_alone(tmp_path: Path) -> None:
    with clusters.embedded(SLOTS) as engine:
        sweep(tmp_path / "fleet.db", [job("child", child=True)], engine, str(tmp_path / "store"))
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [one.laddr for process in ours for one in process.net_connections("inet") if one.status == "LISTEN"]
        assert listening
        assert {address.ip for address in listening} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_cancelled_job_s_processes_are_gone(tmp_path: Path) -> None:
    wishes = Wishes()
    hanging = [job(f"hangs {n}", act="hang", child=True) for n in range(SLOTS)]
    found: list[psutil.Process] = []

    def cancel() -> None:
        """Wait until both hang, then cancel everything."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found[:] = [one for one in psutil.Process().children(recursive=True) if _is_job(one)]
            if len(found) == SLOTS:
                break
            time.sleep(0.1)
        wishes.cancelled = True

    with clusters.embedded(SLOTS) as engine:
        thread = threading.Thread(target=cancel)
        thread.start()
        end = sweep(tmp_path / "fleet.db", hanging, engine, str(tmp_path / "store"), wishes=wishes)
        thread.join()
        assert len(found) == SLOTS
        _, left = psutil.wait_procs(found, GONE_S)
    assert left == []
    assert (end.states, end.exit_code) == ({"cancelled": SLOTS}, 75)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_is_the_sweep_s_alone(times: int, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to every process of a command: once it waits for its jobs, twice it ends them."""
    path, how = tmp_path / "fleet.db", ["3.0"] if times == 1 else ["60.0", "children"]
    command = [*processes.CLIENT, str(path), str(tmp_path / "store"), "40", *how]
    with processes.client(command) as client:
        while not _runs(path):
            time.sleep(0.1)
        time.sleep(1)
        below = psutil.Process(client.pid).children(recursive=True)
        for _ in range(times):
            os.killpg(client.pid, signal.SIGINT)
            time.sleep(0.5)
        output, errors = client.communicate(timeout=120)
        _, left = psutil.wait_procs(below, GONE_S)
    assert left == []
    assert "jobs that run are waited for" in errors
    assert "planned" in output
    ended = list(attempts(path).values())
    assert len(ended) == SLOTS
    assert {outcome for (outcome,) in ended} <= ({"done", "refused"} if times == 1 else {"lost"})


@pytest.mark.slow
def test_what_measures_overlaps_nothing_of_its_sweep(tmp_path: Path) -> None:
    log = tmp_path / "spans"
    options = {"seconds": 0.2, "log": str(log)}
    named = [job(f"job {n}", **options) for n in range(16)]
    named[5:5] = [job(f"alone {n}", stage="simulated alone", **options) for n in range(3)]
    with clusters.embedded(SLOTS) as engine:
        end = sweep(tmp_path / "fleet.db", named, engine, str(tmp_path / "store"))
    assert end.states == {"done": 19}
    spans = {key: (float(start), float(stop)) for key, start, stop in map(str.split, log.read_text().splitlines())}
    assert len(spans) == 19
    for one in (measured.key for measured in named if measured.stage == "simulated alone"):
        start, stop = spans.pop(one)
        assert [other for other in spans.values() if other[0] < stop and start < other[1]] == []
    assert any(later[0] < earlier[1] for earlier, later in pairwise(sorted(spans.values())))  # others do overlap


@pytest.mark.slow
def test_a_client_without_the_fleet_s_certificates_is_refused(tmp_path: Path) -> None:
    ours, foreign = tmp_path / "ours", tmp_path / "foreign"
    certificates.make(ours)
    certificates.make(foreign)
    port = processes.free_port()
    with processes.process(processes.scheduler_of(port, ours)):
        processes.await_port(port)
        with clusters.remote(f"tls://127.0.0.1:{port}", ours) as engine:
            assert engine.capacity(['{"slot":1}']).total == 0
        for address, pairs in ((f"tls://127.0.0.1:{port}", foreign), (f"tcp://127.0.0.1:{port}", None)):
            with pytest.raises(DeviceError, match="expected a scheduler at"), clusters.remote(address, pairs):
                pass


def _runs(path: Path) -> bool:
    """Whether a job of a sweep is in flight; no sweep has a database before it has jobs."""
    with suppress(RequestError):
        return "running" in {state for state, _ in rows(path).values()}
    return False


def _asked(engine: object) -> dict[str, dict[str, int]]:
    """What a worker's nanny knows of each worker: its process among others."""
    client = engine._client  # type: ignore[attr-defined]
    return {address: {"pid": pid} for address, pid in client.run(os.getpid).items()}


def _is_job(process: psutil.Process) -> bool:
    """Whether a process leads a group, which jobs do and nothing else here does."""
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False
