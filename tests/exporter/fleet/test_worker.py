"""`sweep worker` on its own: over TLS, by what it offers; what nobody offers is named and holds up nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import certificates, clusters, worker
from slide_export.fleet.database import Database
from slide_export.fleet.engine import InlineEngine
from slide_export.fleet.placer import DaskEngine
from tests.exporter.fleet import processes
from tests.exporter.fleet.sweeps import attempts, job, rows, sweep

START_S = 120.0
IMPATIENT = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
"""A scheduler that misses a worker soon, and leaves it to the sweep to try its job again."""


def test_offers_are_numbers_or_labels() -> None:
    assert worker.offers(["gpu=1,board=pi5", "macos=1"]) == {"gpu": 1.0, "board:pi5": 1.0, "macos": 1.0}
    for word in ("gpu", "=1", "gpu=", "my board=1"):
        with pytest.raises(RequestError, match="expected what is offered as NAME=VALUE"):
            worker.offers([word])


@pytest.mark.slow
def test_jobs_go_to_the_workers_that_offer_what_they_need(tmp_path: Path) -> None:
    jobs = [job(f"any {number}") for number in range(4)]
    jobs += [job("gpu", offer={"slot": 1, "gpu": 1}), job("board", offer={"slot": 1, "board:pi5": 1})]
    jobs += [job("nobody", offer={"slot": 1, "board:pi9": 1}), job("newer", environment={"pretended": "2.0"})]
    with _rack(tmp_path) as engine:
        able = engine.capacity([jobs[4].worker_class, jobs[5].worker_class]).able
        end = sweep(tmp_path / "fleet.db", jobs, engine, str(tmp_path / "store"), wait_for_workers_s=5)
    assert (end.states, end.exit_code) == ({"done": 7, "blocked": 1}, 3)
    with Database.read_only(tmp_path / "fleet.db") as database:
        ran = dict(database.rows("SELECT subject, worker FROM attempt JOIN job ON key = job WHERE outcome = 'done'"))
        ((said,),) = database.rows("SELECT message FROM job WHERE subject = 'nobody'")
    (gpu,), (board,) = able.values()
    assert gpu != board
    assert (ran["gpu"], ran["board"], ran["newer"]) == (gpu, board, board)
    assert "no worker offers" in str(said)
    assert "board:pi9" in str(said)
    assert attempts(tmp_path / "fleet.db")["newer"][-1] == "done"


@pytest.mark.slow
def test_a_parted_worker_s_job_runs_again_and_its_late_answer_harms_nothing(tmp_path: Path) -> None:
    """Stopped processes answer nobody, as a machine behind a broken cable; then they go on and commit."""
    path, store, port = tmp_path / "fleet.db", tmp_path / "store", processes.free_port()
    address, named = f"tcp://127.0.0.1:{port}", [job(f"job {n}", seconds=4.0) for n in range(4)]
    with ExitStack() as stack:
        stack.enter_context(processes.process(processes.scheduler_of(port), IMPATIENT))
        processes.await_port(port)
        workers = [stack.enter_context(processes.process(processes.worker_of(address))) for _ in range(2)]
        engine = stack.enter_context(clusters.remote(address, None))
        _await_workers(engine, 2)
        thread = threading.Thread(target=_part, args=(workers[0].pid,))
        thread.start()
        end = sweep(path, named, engine, str(store))
        thread.join()
        time.sleep(5)  # for the late answer
    assert end.states == {"done": 4}
    assert sorted(outcomes[0] for outcomes in attempts(path).values()) == ["died", "done", "done", "done"]
    assert len(list((store / "jobs").iterdir())) == 4
    again = sweep(tmp_path / "other.db", named, InlineEngine(), str(store))
    assert (again.states, attempts(tmp_path / "other.db")) == ({"done": 4}, {})
    assert rows(path) == rows(tmp_path / "other.db")


def _part(supervisor: int) -> None:
    """Stop all of a worker in the midst of its first job, for longer than the scheduler waits for it."""
    time.sleep(2)
    stopped = psutil.Process(supervisor).children(recursive=True)
    for process in stopped:
        process.suspend()
    time.sleep(20)
    for process in stopped:
        process.resume()


@contextmanager
def _rack(tmp_path: Path) -> Iterator[DaskEngine]:
    """A scheduler and two workers over TLS, of one slot each; the second has a newer package."""
    tls, port = tmp_path / "tls", processes.free_port()
    certificates.make(tls)
    address = f"tls://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(processes.process(processes.scheduler_of(port, tls)))
        processes.await_port(port)
        for offer, version in (("gpu=1", "1.0"), ("board=pi5", "2.0")):
            command = processes.worker_of(address, "--tls", str(tls), "--offer", offer)
            stack.enter_context(processes.process(command, {"PYTHONPATH": str(_with_package(tmp_path, version))}))
        engine = stack.enter_context(clusters.remote(address, tls))
        _await_workers(engine, 2)
        yield engine


def _await_workers(engine: DaskEngine, slots: int) -> None:
    deadline = time.monotonic() + START_S
    while engine.capacity([]).total < slots:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _with_package(tmp_path: Path, version: str) -> Path:
    """A directory in which a package is installed, as far as its version goes."""
    place = tmp_path / version
    (place / f"pretended-{version}.dist-info").mkdir(parents=True)
    (place / f"pretended-{version}.dist-info" / "METADATA").write_text(f"Name: pretended\nVersion: {version}\n")
    return place
