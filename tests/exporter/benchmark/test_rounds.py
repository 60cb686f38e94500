"""The parent of a measurement: who is asked what and when; a slower artifact is found slower; refusals."""

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends import registry as backends
from slide_export.benchmark import process
from slide_export.benchmark import rounds as latency
from slide_export.benchmark.devices import local
from slide_export.benchmark.plan import BenchPlan
from slide_export.benchmark.rounds import WINDOW_CALLS, WINDOWS, Candidate
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable, MeasurementError, RequestError
from slide_export.core.measurement import ArtifactInfo

FEEDS = {"images": np.zeros((1, 3, 4, 4), np.float32)}


def candidate(name: str, target: str = "onnx", **settings: Any) -> Candidate:
    return Candidate(ArtifactInfo(name, target, "fp32", "swin", "swin_tiny", (4, 4)), Path(name), settings, FEEDS)


class FakeWorker:
    """Answers without a process; takes the milliseconds that its settings say, noise aside."""

    asked: list[tuple[str, int, int]] = []  # noqa: RUF012  # cleared by the fixture

    def __init__(self, name: str, job: Mapping[str, Any], threads: int, timeout_s: float) -> None:
        self.name, self.job, self.batch = name.split()[0], job, job["batch"]
        self.noise = random.Random(name)
        self.ms = job["settings"].get("ms", 10.0) * self.batch

    def __enter__(self) -> "FakeWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append((self.name, -1, 0))

    def answer(self) -> dict[str, Any]:
        return {"evaluator": "fake", "import_ms": 1.0, "load_ms": 2.0}

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        self.asked.append((self.name, calls, untimed))
        return {"ms": [self.ms * self.noise.uniform(0.995, 1.005) for _ in range(calls)], "peak_mib": 64.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int, int]]]:
    monkeypatch.setattr(local, "Worker", FakeWorker)
    FakeWorker.asked.clear()
    yield FakeWorker.asked


def plan(rounds: int = 12, calls: int = 3, **fields: Any) -> BenchPlan:
    return BenchPlan(rounds=rounds, calls=calls, threads=1, **fields)


def test_every_round_asks_each_once_and_the_order_changes(asked: list[tuple[str, int, int]]) -> None:
    latency.measure([candidate(name) for name in "abc"], plan())
    timed = [name for name, calls, untimed in asked if (calls, untimed) == (3, 1)]
    rounds = ["".join(timed[start : start + 3]) for start in range(0, len(timed), 3)]
    assert len(rounds) == 12
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({one[0] for one in rounds}) == 3
    assert {"ab", "ac", "ba", "bc", "ca", "cb"} <= {one[index : index + 2] for one in rounds for index in (0, 1)}


def test_all_are_warm_before_the_first_round_and_end_together(asked: list[tuple[str, int, int]]) -> None:
    latency.measure([candidate("a"), candidate("b")], plan(1, 3))
    warm = [1, *[WINDOW_CALLS] * WINDOWS]
    kinds = [calls for _, calls, _ in asked]
    assert kinds == [*warm, *warm, 3, 3, -1, -1]


def test_a_slowdown_of_a_tenth_is_slower(asked: list[tuple[str, int, int]]) -> None:
    result = latency.measure([candidate("a"), candidate("b", ms=11.0)], plan())
    (found,) = result.comparisons
    assert (found.a, found.b, found.verdict) == (1, 0, "slower")
    assert found.ratio.value == pytest.approx(1.1, abs=0.01)


def test_equal_artifacts_are_the_same(asked: list[tuple[str, int, int]]) -> None:
    result = latency.measure([candidate("a"), candidate("b")], plan())
    assert [one.verdict for one in result.comparisons] == ["same"]


def test_throughput_is_the_batch_over_the_median_and_batches_are_not_compared(
    asked: list[tuple[str, int, int]],
) -> None:
    result = latency.measure([candidate("a"), candidate("b")], plan(batches=(1, 8)))
    assert [(run.subject.name, run.batch) for run in result.runs] == [("a", 1), ("b", 1), ("a", 8), ("b", 8)]
    assert [(one.a, one.b) for one in result.comparisons] == [(1, 0), (3, 2)]
    times = np.sort(np.ravel(result.runs[2].rounds_ms))
    assert result.runs[2].images_per_s == pytest.approx(8e3 / np.median(times))


def test_the_protocols_threads_go_before_the_artifacts_own(asked: list[tuple[str, int, int]]) -> None:
    result = latency.measure([candidate("a", threads=7, other=1)], plan(1))
    assert result.runs[0].settings == {"threads": 1, "other": 1}


def test_a_substitute_runtime_is_refused_or_labelled_and_compared_with_its_like(
    asked: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    three = [candidate("a"), candidate("b", "coreml"), candidate("c", "coreml")]
    with pytest.raises(BackendUnavailable, match="stand_ins measures that") as refusal:
        latency.measure(three, plan())
    assert refusal.value.exit_code == 3
    result = latency.measure(three, plan(substitute_runtimes=True))
    assert [bool(run.stand_in) for run in result.runs] == [False, True, True]
    assert [(one.a, one.b) for one in result.comparisons] == [(2, 1)]


def test_what_cannot_run_here_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.load("tensorrt"), "unavailable_reason", lambda: "no NVIDIA GPU on this machine")
    with pytest.raises(
        BackendUnavailable, match=r"expected a \(tensorrt fp32\) to run on this machine, found no NVIDIA GPU"
    ):
        latency.measure([candidate("a", "tensorrt")], plan())


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(RequestError, match="found 0"):
        latency.measure([], plan())


class Restless:
    """A worker that takes longer each time."""

    def __init__(self, grows: float) -> None:
        self.ms, self.grows = 1.0, grows

    def call(self, calls: int) -> dict[str, Any]:
        self.ms *= self.grows
        return {"ms": [self.ms] * calls}


@pytest.mark.parametrize(
    ("grows", "expected"),
    [(1.0, (WINDOW_CALLS * WINDOWS, True)), (1.02, (WINDOW_CALLS * WINDOWS, True)), (1.03, (100, False))],
)
def test_warm_up_ends_when_the_median_stands_still(grows: float, expected: tuple[int, bool]) -> None:
    assert latency._warm_up(Restless(grows)) == expected  # type: ignore[arg-type]


def test_a_worker_that_dies_ends_the_measurement_and_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import json, sys\n"
        "job = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'evaluator': 'x', 'import_ms': 1, 'load_ms': 1}), flush=True)\n"
        "for index, line in enumerate(sys.stdin):\n"
        "    if index == 6 and job['path'] == 'bad': sys.exit('out of memory')\n"
        "    print(json.dumps({'ms': [1.0] * json.loads(line)['calls'], 'peak_mib': 1.0}), flush=True)\n"
    )
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", script))
    with pytest.raises(MeasurementError, match=r"bad \(onnx fp32\).*exit code 1\): out of memory"):
        latency.measure([candidate("good"), candidate("bad")], plan())


def test_runs_of_real_artifacts_hold_what_the_protocol_asked(onnx_bundle: Bundle) -> None:
    artifact = onnx_bundle.manifest.artifact
    path, feeds = onnx_bundle.path / artifact.path, bundle.golden(onnx_bundle).feeds
    one = replace(candidate("small"), path=path, settings=artifact.settings, feeds=feeds)
    result = latency.measure([one], plan(2, 2, batches=(3,), profile=True))
    (run,) = result.runs
    assert [len(calls) for calls in run.rounds_ms] == [2, 2]
    assert all(ms > 0 for calls in run.rounds_ms for ms in calls)
    assert run.evaluator.startswith("ONNX Runtime")
    assert 1 < run.peak_mib < 2000
    assert run.profile


@pytest.mark.parametrize(("threads", "refused"), [(8, False), (9, True), (999, True)])
def test_more_threads_than_processors_take_turns_with_are_refused(
    threads: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.LocalDevice, "processors", lambda _: (0, 1))
    plan = BenchPlan(threads=threads)
    if not refused:
        assert latency.protocol_of(plan).threads == threads
        return
    with pytest.raises(RequestError, match=f"expected at most 8 threads on this machine, .* found {threads}"):
        latency.protocol_of(plan)
