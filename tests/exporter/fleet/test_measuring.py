"""A sitting takes the bundles that are there and run here, and says what else was not quiet."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slide_export.benchmark.plan import BenchPlan
from slide_export.bundle.store import Bundle
from slide_export.core.errors import BackendUnavailable
from slide_export.core.measurement import ArtifactInfo, ArtifactTiming, BenchmarkResult, BenchProtocol, Environment
from slide_export.core.measurement import Interval as Range
from slide_export.fleet import measuring
from slide_export.fleet.machine import DEVICE

OPTIONS = {"rounds": 6, "calls": None, "threads": 2, "batch": 4, "timeout_s": 30.0}
KEYS = ["first", "second", "third"]
ORDER: dict[str, Any] = {"spec": {"options": OPTIONS, "inputs": {"bundles": KEYS}}}


def timing(name: str, p50_ms: float) -> ArtifactTiming:
    told = Range(p50_ms, p50_ms / 2, p50_ms * 2)
    return ArtifactTiming(
        subject=ArtifactInfo(name, "onnx", "fp32", "swin", "swin_tiny", (224, 224)),
        evaluator="ONNX Runtime",
        batch=4,
        rounds_ms=((p50_ms,),),
        warmup_calls=1,
        stable=True,
        load_ms=None,
        first_ms=None,
        p50_ms=told,
        p90_ms=told,
        p99_ms=told,
        images_per_s=4e3 / p50_ms,
    )


class Sitting:
    """What was measured, and by which plan."""

    def __init__(self) -> None:
        self.places: list[Path] = []
        self.plans: list[BenchPlan] = []

    def bench(self, places: Sequence[Path], plan: BenchPlan, _device: object) -> BenchmarkResult:
        self.places, self.plans = list(places), [*self.plans, plan]
        runs = tuple(timing(place.name, 1.0 + number) for number, place in enumerate(places))
        environment = replace(Environment("here", "cpu"), warnings=("it is warm",))
        return BenchmarkResult("2026-01-01T00:00:00+00:00", environment, BenchProtocol(1, 1), runs)


@pytest.fixture
def sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sitting:
    made = Sitting()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DEVICE, raising=False)
    monkeypatch.setattr(measuring, "connect", lambda request: nullcontext(request))
    monkeypatch.setattr(measuring.benchmark, "bench", made.bench)
    monkeypatch.setattr(measuring, "_runs_here", lambda _place: True)
    used = iter([{7: 1.0}, {7: 1e6}])
    monkeypatch.setattr(measuring.strangers, "running", lambda: next(used))
    for number in (0, 2):  # the second was refused
        (tmp_path / "in/bundles" / str(number)).mkdir(parents=True)
    return made


def test_runs_are_told_by_the_jobs_that_made_their_bundles(sitting: Sitting) -> None:
    found = measuring.bench_one(ORDER)
    assert sitting.places == [Path("in/bundles/0"), Path("in/bundles/2")]
    assert (found["exit_code"], found["result"]["exports"]) == (0, ["first", "third"])
    assert found["measures"] == {"p50_ms first": (1.0, 0.5, 2.0), "p50_ms third": (2.0, 1.0, 4.0)}
    (plan,) = sitting.plans
    assert (plan.rounds, plan.calls, plan.threads, plan.batches) == (6, BenchPlan().calls, 2, (4,))
    assert plan.timeout_s == 30.0


def test_who_computed_meanwhile_is_told_beside_what_was_known(sitting: Sitting) -> None:
    quiet, stranger = measuring.bench_one(ORDER)["result"]["result"]["environment"]["warnings"]
    assert quiet == "it is warm"
    assert stranger.startswith("another process of slide-export, 7, took ")


def test_of_a_board_nothing_is_asked_here(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE, "ssh://board")
    monkeypatch.setattr(measuring, "_runs_here", lambda _place: False)
    found = measuring.bench_one(ORDER)
    assert found["result"]["exports"] == ["first", "third"]
    assert found["result"]["result"]["environment"]["warnings"] == ["it is warm"]
    assert sitting.plans[0].device.name == "ssh://board"


def test_a_worker_without_any_of_the_runtimes_hands_it_back(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_runs_here", lambda _place: False)
    with pytest.raises(BackendUnavailable, match="on which one of 2 bundles runs natively"):
        measuring.bench_one(ORDER)
    assert sitting.plans == []


@pytest.mark.parametrize(
    ("reason", "substitute", "runs"), [(None, None, True), ("not here", None, False), (None, "an evaluator", False)]
)
def test_a_runtime_runs_here_that_is_installed_and_the_devices_own(
    reason: str | None, substitute: str | None, runs: bool, onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring.optional, "unavailable_reason", lambda _backend: reason)
    monkeypatch.setattr(measuring.optional, "substitute_runtime", lambda _backend: substitute)
    assert measuring._runs_here(onnx_bundle.path) is runs
