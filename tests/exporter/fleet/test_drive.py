"""The loop, with an engine that runs each job here or tells whatever a test has it tell."""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from slide_export.core.errors import WriteError
from slide_export.fleet import cas, simulated
from slide_export.fleet.database import Database
from slide_export.fleet.engine import Capacity, InlineEngine
from slide_export.fleet.job import Answer, Ended, Job, Submission
from slide_export.fleet.wishes import Wishes, file_of
from tests.exporter.fleet.sweeps import attempts, job, rows, sweep


class ToldEngine:
    """One that ends each attempt as a test says, in the order in which they come."""

    def __init__(self, tell: Callable[[Submission], Ended], slots: int = 2, workers: Collection[str] = ("w1",)) -> None:
        self.tell, self.slots, self.workers = tell, slots, frozenset(workers)
        self.waiting: list[Submission] = []
        self.most = 0
        self.flights: list[list[str]] = []

    def capacity(self, classes: Collection[str]) -> Capacity:
        return Capacity(self.slots, dict.fromkeys(classes, self.slots), dict.fromkeys(classes, self.workers))

    def submit(self, submissions: Sequence[Submission]) -> None:
        self.waiting += submissions
        self.most = max(self.most, len(self.waiting))
        if submissions:
            self.flights.append([one.key for one in self.waiting])

    def next_batch(self, _timeout_s: float) -> list[Ended]:
        ended, self.waiting = [self.tell(one) for one in self.waiting], []
        return ended

    def stop(self, keys: Collection[str]) -> None:
        self.waiting = [one for one in self.waiting if one.key not in keys]

    def close(self) -> None:
        pass


def answered(one: Submission, answer: Answer) -> Ended:
    return Ended(one.number, one.key, answer.plain())


def done(one: Submission) -> Ended:
    return answered(one, Answer("done", worker="w1"))


def test_a_graph_runs_to_its_end_and_a_refusal_blocks_what_needs_it(tmp_path: Path) -> None:
    first = job("first")
    refused = job("refused", first, refused=1.0)
    jobs = [first, refused, job("after", refused), job("beside", first)]
    end = sweep(tmp_path / "fleet.db", jobs, InlineEngine())
    assert {name: state for name, (state, _) in rows(tmp_path / "fleet.db").items()} == {
        "first": "done", "refused": "refused", "after": "blocked", "beside": "done",
    }  # fmt: skip
    assert end.exit_code == 1
    with Database.read_only(tmp_path / "fleet.db") as database:
        ((said,),) = database.rows("SELECT message FROM job WHERE state = 'blocked'")
    assert said == "it needs simulated of refused, which has no output"


def test_a_finished_sweep_does_nothing_again(tmp_path: Path) -> None:
    path, url = tmp_path / "fleet.db", str(tmp_path / "store")
    first = sweep(path, simulated.jobs(3), InlineEngine(), url)
    tried = attempts(path)
    again = sweep(path, simulated.jobs(3), InlineEngine(), url)
    assert again.states == first.states
    assert attempts(path) == tried
    other = tmp_path / "other.db"  # another client finds all of it in the store
    assert sweep(other, simulated.jobs(3), InlineEngine(), url).states == first.states
    assert attempts(other) == {}
    assert rows(other) == rows(path)


def test_no_more_are_in_flight_than_there_are_slots(tmp_path: Path) -> None:
    engine = ToldEngine(done, slots=3)
    end = sweep(tmp_path / "fleet.db", [job(str(number)) for number in range(20)], engine)
    assert end.states == {"done": 20}
    assert engine.most == 3


@pytest.mark.parametrize("killers", [1, 8])
def test_what_kills_workers_is_told_from_what_stood_beside_it(killers: int, tmp_path: Path) -> None:
    jobs = [job(f"killer {n}") for n in range(killers)] + [job(f"good {n}") for n in range(60 - killers)]
    guilty = {one.key for one in jobs[:killers]}

    class Dying(ToldEngine):
        def next_batch(self, _timeout_s: float) -> list[Ended]:
            """A killer takes with it all that is in flight."""
            kills = any(one.key in guilty for one in self.waiting)
            self.tell = (lambda one: Ended(one.number, one.key, died="w1")) if kills else done
            return super().next_batch(_timeout_s)

    end = sweep(tmp_path / "fleet.db", jobs, Dying(done))
    assert end.states == {"poison": killers, "done": 60 - killers}
    assert end.exit_code == 70
    tried = attempts(tmp_path / "fleet.db")
    assert all(tried[f"killer {n}"] == ["died"] * 3 for n in range(killers))
    assert all(outcomes[-1] == "done" and len(outcomes) <= 2 for name, outcomes in tried.items() if "good" in name)


def test_a_job_is_alone_when_it_is_given_up(tmp_path: Path) -> None:
    """Of two classes on one worker, only the last death, with nothing else in flight, convicts."""
    killer, good = job("killer"), [job(f"good {n}", offer={"gpu": 1, "slot": 1}) for n in range(6)]

    class Dying(ToldEngine):
        def next_batch(self, _timeout_s: float) -> list[Ended]:
            kills = any(one.key == killer.key for one in self.waiting)
            self.tell = (lambda one: Ended(one.number, one.key, died="w1")) if kills else done
            return super().next_batch(_timeout_s)

    engine = Dying(done)
    end = sweep(tmp_path / "fleet.db", [killer, *good], engine)
    assert end.states == {"poison": 1, "done": 6}
    assert [flight for flight in engine.flights if killer.key in flight][-1] == [killer.key]


def test_a_lost_scheduler_counts_as_no_attempt(tmp_path: Path) -> None:
    seen: list[str] = []

    def tell(one: Submission) -> Ended:
        seen.append(one.key)
        return Ended(one.number, one.key) if seen.count(one.key) <= 5 else done(one)

    end = sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(tell))
    assert end.states == {"done": 1}
    assert attempts(tmp_path / "fleet.db") == {"a": ["lost"] * 5 + ["done"]}


def test_a_crash_is_tried_once_more_on_another_worker(tmp_path: Path) -> None:
    avoided: list[frozenset[str]] = []

    def tell(one: Submission) -> Ended:
        avoided.append(one.avoid)
        return answered(one, Answer("crashed", 70, "signal 11: last words", worker=f"w{len(avoided)}"))

    end = sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(tell, workers=("w1", "w2")))
    assert (end.states, end.exit_code) == ({"poison": 1}, 70)
    assert avoided == [frozenset(), frozenset({"w1"})]


def test_a_job_that_every_worker_hands_back_is_blocked(tmp_path: Path) -> None:
    def tell(one: Submission) -> Ended:
        worker = "w2" if "w1" in one.avoid else "w1"
        return answered(one, Answer("mismatch", 3, "expected torch 2, found 3", worker=worker))

    end = sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(tell, workers=("w1", "w2")))
    assert (end.states, end.exit_code) == ({"blocked": 1}, 3)
    assert attempts(tmp_path / "fleet.db") == {"a": ["mismatch", "mismatch"]}


def test_a_class_without_a_worker_holds_up_no_other(tmp_path: Path) -> None:
    class NoGpu(ToldEngine):
        def capacity(self, classes: Collection[str]) -> Capacity:
            found = super().capacity(classes)
            return Capacity(2, {name: 0 if "gpu" in name else 2 for name in classes}, found.able)

    jobs = [job("far", offer={"gpu": 1}), job("near")]
    end = sweep(tmp_path / "fleet.db", jobs, NoGpu(done), wait_for_workers_s=0.0)
    assert {name: state for name, (state, _) in rows(tmp_path / "fleet.db").items()} == {
        "far": "blocked",
        "near": "done",
    }
    assert end.exit_code == 3
    with Database.read_only(tmp_path / "fleet.db") as database:
        ((said,),) = database.rows("SELECT message FROM job WHERE state = 'blocked'")
    assert 'no worker offers {"gpu":1}' in str(said)


def test_a_store_that_fails_stops_the_sweep_and_fails_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide_export.fleet.verdict.STORE_WAITS_S", (0.01, 0.01, 0.01))
    down = ToldEngine(lambda one: answered(one, Answer("store", 74, "no space left", worker="w1")))
    end = sweep(tmp_path / "fleet.db", [job("a"), job("b")], down)
    assert (end.states, end.exit_code) == ({"planned": 2}, 74)
    assert end.message == "the artifact store failed: no space left"
    assert sweep(tmp_path / "fleet.db", [job("a"), job("b")], ToldEngine(done)).states == {"done": 2}


def test_a_time_out_is_final_until_it_is_retried(tmp_path: Path) -> None:
    slow = ToldEngine(lambda one: answered(one, Answer("timeout", 75, "expected an end within 1 s", worker="w1")))
    end = sweep(tmp_path / "fleet.db", [job("a")], slow)
    assert (end.states, end.exit_code) == ({"failed": 1}, 75)
    assert sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(done)).states == {"failed": 1}
    assert sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(done), retry=("failed",)).states == {"done": 1}


def test_a_full_database_ends_with_74_and_loses_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, url = tmp_path / "fleet.db", str(tmp_path / "store")
    honest, calls = Database.end, []

    def full(self: Database, *arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > 2:
            raise WriteError("expected to write the database, the system says: database or disk is full")
        honest(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "end", full)
    first = sweep(path, simulated.jobs(2), InlineEngine(in_flight=4), url)
    assert first.exit_code == 74
    monkeypatch.setattr(Database, "end", honest)
    answered_before = cas.open(url).keys()
    second = sweep(path, simulated.jobs(2), InlineEngine(), url)
    assert "planned" not in second.states
    tried = attempts(path)
    with Database.read_only(path) as database:
        keys = {str(key): str(name) for key, name in database.rows("SELECT key, subject FROM job")}
    assert all(len(tried.get(keys[key], [])) <= 1 for key in answered_before)  # none of them ran again


def test_no_new_job_begins_once_time_is_over(tmp_path: Path) -> None:
    end = sweep(tmp_path / "fleet.db", [job("a")], ToldEngine(done), stop_after_s=0.0)
    assert (end.states, end.exit_code, end.message) == ({"planned": 1}, 75, "its time is over")


def test_cancelled_jobs_are_killed_and_block_what_needs_them(tmp_path: Path) -> None:
    first = job("first")
    wishes = Wishes(cancel=[first.key], cancelled=True)
    end = sweep(
        tmp_path / "fleet.db", [first, job("after", first), job("other")], ToldEngine(done, slots=1), wishes=wishes
    )
    assert sum(end.states.values()) == 3
    assert end.states["done"] >= 1


@pytest.mark.parametrize("text", ["{nonsense", '["half', "3", "{}"])
def test_a_wish_that_is_none_is_put_away(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    file_of(path).write_text(text)
    assert sweep(path, [job("a")], ToldEngine(done)).states == {"done": 1}
    assert not file_of(path).exists()


def test_a_wish_that_came_too_late_is_none_of_the_next_run_s(tmp_path: Path) -> None:
    path, one = tmp_path / "fleet.db", job("a")

    def last(_state: str, key: str, _message: str) -> None:
        file_of(path).write_text(json.dumps([key]))

    slow = ToldEngine(lambda one: answered(one, Answer("timeout", 75, "expected an end within 1 s", worker="w1")))
    assert sweep(path, [one], slow, told=last).states == {"failed": 1}
    assert sweep(path, [one], ToldEngine(done), retry=("failed",)).states == {"done": 1}


def test_a_lenient_job_takes_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from slide_export.fleet import stages

    monkeypatch.setitem(stages.STAGES, "lenient", replace(stages.STAGES["simulated"], lenient=True))
    good, bad = job("good"), job("bad", refused=1.0)

    def bench(name: str, *needs: Job) -> Job:
        keys = tuple(one.key for one in needs)
        return Job.of("lenient", 1, name, {"slot": 1}, options={"n": name}, inputs={}, environment={}, needs=keys)

    told = ToldEngine(
        lambda one: answered(one, Answer("refused" if one.key == bad.key else "done", int(one.key == bad.key)))
    )
    sweep(tmp_path / "fleet.db", [good, bad, bench("some", good, bad), bench("none", bad)], told)
    found = {name: state for name, (state, _) in rows(tmp_path / "fleet.db").items()}
    assert (found["some"], found["none"]) == ("done", "blocked")
