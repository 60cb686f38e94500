"""Peaks are rates of products and reads that were really made, in a process of their own."""

import pytest
import torch

from slide_export.benchmark import peaks
from slide_export.benchmark.devices import local
from slide_export.core.errors import MeasurementError


def test_a_product_is_the_matrix_product_of_its_type() -> None:
    for kind, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("int8", torch.int32)):
        found = peaks._product(kind, 32)()
        assert (found.dtype, tuple(found.shape)) == (dtype, (32, 32))


def test_a_rate_is_work_over_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = dict.fromkeys((512, 1024, 2048), 1.0)
    monkeypatch.setattr(peaks, "_product", lambda kind, side: lambda: side)
    monkeypatch.setattr(peaks, "_best_s", lambda call: times[call()])
    assert peaks._gmacs_per_s("float32") == pytest.approx(2048**3 / 1e9)
    times[1024] = 0.01
    assert peaks._gmacs_per_s("float32") == pytest.approx(1024**3 / 0.01 / 1e9)


def test_the_best_of_several_calls_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([2.0, 0.5, 3.0, 2.0, 1.0])
    monkeypatch.setattr(peaks, "SECONDS", 0.0)
    monkeypatch.setattr(peaks, "_seconds", lambda call: next(taken))
    assert peaks._best_s(lambda: None) == 0.5


def test_a_buffer_takes_the_best_time_of_each_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([1.0, 9.0, 9.0, 3.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0])  # two blocks, five passes
    monkeypatch.setattr(peaks, "SECONDS", 0.0)
    monkeypatch.setattr(peaks, "_seconds", lambda call: next(taken))
    assert peaks._gb_per_s(2 * peaks.BLOCK_MIB) == pytest.approx(2 * peaks.BLOCK_MIB * 2**20 / (1.0 + 3.0) / 1e9)


def test_this_machine_is_measured_in_the_types_that_it_has_instructions_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "flags", lambda: ("avx2",))
    found = local.LOCAL_DEVICE.peaks(1, ("bfloat16", "float32", "int8"))
    assert found is not None
    assert found.threads == 1
    assert set(found.gmacs_per_s) == {"float32"}
    assert set(found.read_gb_per_s) == {str(size) for size in peaks.BUFFERS_MIB}
    assert all(rate > 0 for rate in (*found.gmacs_per_s.values(), *found.read_gb_per_s.values()))


def test_a_process_that_ends_otherwise_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KINDS", ("nothing",))
    monkeypatch.setattr(local, "fast_types", lambda flags: {"nothing": ()})
    with pytest.raises(MeasurementError, match="has no attribute 'nothing'; measure without"):
        local.LOCAL_DEVICE.peaks(1, ("nothing",))
