"""A plan and the keywords that make it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from slide_export.benchmark import plan as plans
from slide_export.benchmark.plan import BenchPlan, DeviceRequest, plan_of
from slide_export.core.errors import RequestError


@pytest.mark.parametrize("field", ["rounds", "calls", "threads"])
def test_a_plan_needs_one_of_each(field: str) -> None:
    assert getattr(BenchPlan(**{field: 1}), field) == 1  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=f"expected at least 1 {field[:-1]}, found 0"):
        BenchPlan(**{field: 0})  # type: ignore[arg-type]


BATCHES = [((), "none"), ((0,), "0"), ((1, -8), "1, -8"), ((1, 4097), "1, 4097"), ((10**7,), "10000000")]


@pytest.mark.parametrize(("batches", "told"), BATCHES)
def test_a_plan_needs_batch_sizes(batches: tuple[int, ...], told: str) -> None:
    with pytest.raises(RequestError, match=f"expected batch sizes of 1 to 4096, found {told}$"):
        BenchPlan(batches=batches)
    assert BenchPlan(batches=(1, 4096)).batches == (1, 4096)


def test_what_nobody_says_is_what_the_manual_says() -> None:
    here = DeviceRequest("this machine", keep=False, runner=None)
    assert BenchPlan() == BenchPlan((1,), 20, 5, None, False, False, 300.0, here, False)


def test_keywords_take_the_place_of_the_plans_fields() -> None:
    found = plan_of(BenchPlan(rounds=6, device=DeviceRequest("lab")), {"calls": 2, "batches": [1, 8], "keep": True})
    assert found == BenchPlan((1, 8), rounds=6, calls=2, device=DeviceRequest("lab", keep=True))


def test_every_keyword_has_a_field() -> None:
    values: dict[str, Any] = {
        "batches": (2,), "rounds": 7, "calls": 3, "threads": 4, "profile": True, "stand_ins": True,
        "device": "adb:R58M", "keep": True, "runner": "perf_test", "timeout_s": 1.5, "roofline": True,
    }  # fmt: skip
    assert values.keys() == plans.BenchOptions.__annotations__.keys()
    device = DeviceRequest("adb:R58M", keep=True, runner=Path("perf_test"))
    assert plan_of(None, values) == BenchPlan((2,), 7, 3, 4, True, True, 1.5, device, True)  # type: ignore[arg-type]


def test_another_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'round'"):
        plan_of(None, {"round": 3})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_plan_needs_time(timeout_s: float) -> None:
    with pytest.raises(RequestError, match="expected a time limit above 0 seconds"):
        BenchPlan(timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", [1e-3, threading.TIMEOUT_MAX])
def test_any_time_that_a_thread_can_wait_is_one(timeout_s: float) -> None:
    assert BenchPlan(timeout_s=timeout_s).timeout_s == timeout_s
