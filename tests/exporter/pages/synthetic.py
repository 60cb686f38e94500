"""Results as a measurement would leave them, from seeded random times: nothing here has been measured."""

from dataclasses import replace

import numpy as np

from slide_export.core.measurement import (
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    Comparison,
    Environment,
    Interval,
    ModuleTime,
    Protocol,
    Verdict,
)

ROUNDS, CALLS = 12, 6


def times(median_ms: float, seed: int) -> tuple[tuple[float, ...], ...]:
    generator = np.random.default_rng(seed)
    drawn = median_ms * (1 + generator.gamma(1.5, 0.02, size=(ROUNDS, CALLS)))
    return tuple(tuple(float(call) for call in calls) for calls in drawn)


def parity(error: float, *, passed: bool = True) -> dict[str, object]:
    output = {"name": "logits", "max_abs": error, "floor_max": 1.1e-6, "limit_max": 8.8e-6, "sqnr_db": 131.25}
    return {"outputs": [output], "passed": passed, "top1": 1.0}


def subject(name: str, target: str = "openvino", **changes: object) -> ArtifactInfo:
    plain = ArtifactInfo(
        name, target, "fp32", "swin", name, (224, 224), "trained", "", 28_288_354, 4_490_000_000, 113_000_000
    )
    return replace(plain, **{"parity": parity(2.4e-6), **changes})


def run(of: ArtifactInfo, median_ms: float, seed: int = 0, batch: int = 1, **changes: object) -> ArtifactTiming:
    rounds_ms = times(median_ms, seed)
    p50, p90, p99 = (float(np.percentile(rounds_ms, rank)) for rank in (50, 90, 99))
    plain = ArtifactTiming(
        subject=of,
        evaluator={"openvino": "OpenVINO 2026.4.1 on CPU (f32)", "onnx": "ONNX Runtime 1.32.0 on CPU"}[of.target],
        batch=batch,
        settings={"threads": 2},
        rounds_ms=rounds_ms,
        warmup_calls=12,
        stable=True,
        import_ms=95.25,
        load_ms=412.5,
        first_ms=88.25,
        peak_mib=391.0,
        p50_ms=Interval(p50, p50 * 0.99, p50 * 1.01),
        p90_ms=Interval(p90, p90 * 0.98, p90 * 1.02),
        p99_ms=Interval(p99, p99 * 0.96, p99 * 1.05),
        images_per_s=batch * 1e3 / p50,
    )
    return replace(plain, **changes)


def profile(scale: float = 1.0) -> tuple[ModuleTime, ...]:
    lines = [ModuleTime("patch_embed.proj", "Convolution", "gemm", 1.9)]
    for stage, depth in enumerate((2, 2, 6, 2)):
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            lines += [
                ModuleTime(f"{at}.attn.qkv", "FullyConnected", "gemm", 0.9 * scale),
                ModuleTime(f"{at}.mlp.fc1", "FullyConnected", "gemm", 1.6),
                ModuleTime(f"{at}.attn", "Softmax", "softmax", 0.25 * scale),
                ModuleTime(f"{at}.attn", "Transpose", "layout", 0.3 * scale),
                ModuleTime(f"{at}.norm1", "MVN", "other", 0.2),
            ]
            lines += [ModuleTime(f"{at}.attn.dep_conv", "GroupConvolution", "convolution", 0.8)] * (stage < 2)
    return (*lines, ModuleTime("head", "FullyConnected", "gemm", 0.1), ModuleTime("", "Reorder", "layout", 0.4))


def compared(a: int, b: int, ratio: float, verdict: Verdict, spread: float = 0.01) -> Comparison:
    return Comparison(a, b, Interval(ratio, ratio - spread, ratio + spread), verdict)


def result(
    runs: tuple[ArtifactTiming, ...], comparisons: tuple[Comparison, ...] = (), **changes: object
) -> BenchmarkResult:
    environment = Environment(
        device="this machine",
        cpu="AMD EPYC 7B13",
        flags=("avx2", "fma"),
        cores=2,
        memory_mib=16384,
        governor="",
        system="Linux-6.1-x86_64",
        python="3.11.9",
        versions={"openvino": "2026.4.1"},
        load_average=0.08,
    )
    protocol = Protocol(ROUNDS, CALLS, 2, (0, 1))
    environment = replace(environment, **{key: changes.pop(key) for key in ("device", "warnings") if key in changes})
    return replace(BenchmarkResult("2026-11-24T17:03:24+00:00", environment, protocol, runs, comparisons), **changes)


def sitting() -> BenchmarkResult:
    """Returns three models, one of them in two precisions and one at batch 4 too, with profiles and a doubt."""
    slide = subject("slide_swin_tiny", variant="slide_swin_tiny", lowering="taps")
    swin = subject("swin_tiny")
    half = replace(slide, precision="fp16", artifact_bytes=57_000_000, parity=parity(7.1e-6))
    im2col = subject("im2col_swin_tiny", weights="random", parity=None)
    runs = (
        run(swin, 58.0, 1, profile=profile()),
        run(slide, 61.0, 2, profile=profile(1.4)),
        run(half, 59.5, 3),
        run(im2col, 92.0, 4, stable=False),
    )
    comparisons = (
        compared(1, 0, 1.05, "slower"),
        compared(2, 0, 1.02, "cannot tell", 0.03),
        compared(2, 1, 0.97, "faster"),
        compared(3, 0, 1.59, "slower", 0.04),
    )
    return result(runs, comparisons, warnings=("The load average was 1.20 before the measurement began.",))


def other_device() -> BenchmarkResult:
    """Returns the first two models as another device measured them, under another runtime."""
    runs = (run(subject("swin_tiny", "onnx"), 21.0, 5), run(subject("slide_swin_tiny", "onnx"), 21.2, 6))
    return result(runs, (compared(1, 0, 1.01, "same", 0.005),), device="a board", measured="2026-11-25T08:00:00+00:00")
