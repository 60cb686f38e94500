"""What the terminal shows of a result."""

import re
from dataclasses import replace

from rich.console import Console

from slide_export.cli.views.benchmark import render
from slide_export.core.measurement import (
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Comparison,
    Environment,
    Interval,
    ModuleTime,
    Peaks,
)

ONE = Interval(12.345, 11.0, 13.0)


def run(name: str, target: str = "onnx", **changes: object) -> ArtifactTiming:
    subject = ArtifactInfo(name, target, "fp32", "swin", "swin_tiny", (64, 64))
    values = {
        "evaluator": "ONNX Runtime", "batch": 1, "settings": {}, "rounds_ms": ((1.0,),), "warmup_calls": 12,
        "stable": True, "import_ms": 1.0, "load_ms": 234.5, "first_ms": 9.999, "peak_mib": 64.0,
        "p50_ms": ONE, "p90_ms": ONE, "p99_ms": ONE, "images_per_s": 81.0,
    }  # fmt: skip
    return ArtifactTiming(subject=subject, **{**values, **changes})  # type: ignore[arg-type]


def shown(
    *runs: ArtifactTiming,
    comparisons: tuple[Comparison, ...] = (),
    warnings: tuple[str, ...] = (),
    peaks: Peaks | None = None,
) -> str:
    machine = Environment("lab", "A CPU", ("avx2",), 2, 2048, "", "Linux", "3.11", {}, 0.1, warnings)
    protocol = BenchProtocol(20, 5, 2, (0, 1))
    result = BenchmarkResult("2026-01-01T00:00:00+00:00", machine, protocol, runs, comparisons, peaks)
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        for part in render(result):
            console.print(part, soft_wrap=isinstance(part, str))
    return captured.get()


def test_it_shows_machine_times_and_verdict() -> None:
    ratio = Comparison(1, 0, Interval(0.9, 0.88, 0.92), "faster")
    text = shown(run("a"), run("b"), comparisons=(ratio,), warnings=("the machine was busy [so]",))
    assert "lab: A CPU (avx2), 2 processors, 2.0 GiB" in text
    assert "20 interleaved rounds of 5 calls, 2 threads on processors 0 1" in text
    assert "12.3  11.0 to 13.0" in text
    assert "10.0" in text  # 9.999, rounded
    assert "b beside a, batch 1  0.90 of its time 0.88 to 0.92  faster" in text
    assert "! the machine was busy [so]" in text


def test_it_says_the_limit_and_the_factor_above_it() -> None:
    one = replace(run("a"), subject=replace(run("a").subject, macs=1_000_000_000, artifact_bytes=2**20))
    peaks = Peaks(2, {"float32": 200.0}, {"4": 50.0})
    text = shown(one, run("b"), peaks=peaks)
    assert "at best with up to 2 threads, 1e9 multiply-adds a second: float32 200; reads 50 GB/s of 4 MiB" in text
    assert re.search(r"a +1 +5\.00 float32 +0\.02 +2\.5", text)  # 12.3 ms over 5
    assert re.search(r"b +1 +- +- +-", text)  # its multiply-adds are unknown
    assert "at best" not in shown(one)


def test_a_profile_says_what_time_is_for() -> None:
    lines = (ModuleTime("layers.0.blocks.0.attn.qkv", "Gemm", "gemm", 3.0), ModuleTime("", "Reorder", "layout", 1.0))
    text = " ".join(shown(replace(run("a"), profile=lines)).split())
    assert "products 3.00 ms (75%), attention's taps 0.00 ms (0%), normalisation 0.00 ms (0%), layout 1.00 ms" in text


def test_it_says_what_is_a_stand_in_and_what_was_not_stable() -> None:
    text = shown(run("a", "coreml", stand_in="an evaluator in CoreML's place"), run("a", stable=False))
    assert "! a coreml fp32: an evaluator in CoreML's place" in text
    assert "! a onnx fp32, batch 1: its time was not stable yet after 12 calls of warm-up" in text


def test_it_says_what_must_not_ship() -> None:
    refused = run("a")
    refused = replace(refused, subject=replace(refused.subject, parity={"passed": False}))
    assert "! a: must not ship, it failed its proof: it is not the trained model" in shown(refused, run("b"))


def test_many_pairs_are_shown_beside_the_first_alone() -> None:
    runs = [run(str(place)) for place in range(6)]
    pairs = tuple(Comparison(a, b, ONE, "slower") for a in range(6) for b in range(a))
    assert shown(*runs, comparisons=pairs).count("slower") == 5


def test_a_profile_shows_the_slowest_blocks_in_order_and_sums_up() -> None:
    lines = [ModuleTime(f"layers.0.blocks.{place}.attn.qkv", "Gemm", "gemm", 1.0 + place) for place in range(12)]
    text = shown(replace(run("a"), profile=(*lines, ModuleTime("", "Softmax", "softmax", 22.0))))
    assert "13 operators (ONNX Runtime, its own profiler)" in text
    places = [text.index(f"layers.0.blocks.{place} ") for place in range(3, 12)]
    assert places == sorted(places)
    assert "layers.0.blocks.0 " not in text
    assert "3 more" in text
    assert text.split()[-5:] == ["78%", "0%", "22%", "0%", "0%"]
