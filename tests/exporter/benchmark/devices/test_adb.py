"""A phone over adb. No phone was there: `fake_adb.py` answers with composed words, and says so itself."""

import sys
from pathlib import Path

import pytest

import slide_export
from slide_export.benchmark.devices import connect
from slide_export.benchmark.plan import DeviceRequest
from slide_export.bundle.store import Bundle
from slide_export.core.errors import DeviceError, MeasurementError, RequestError, TimeLimitError

PERF_TEST = """for word; do last=$word; done
echo "Session creation time cost: 0.169475 s"
echo "First inference time cost: 109 ms"
printf 'model,0.0072,91336704,62,0\\nmodel,0.0075,91336704,62,1\\n' > $last
echo "$@" >> asked"""
BENCHMARK_APP = """echo "[ INFO ] Compile model took 250.00 ms"
echo "[ INFO ] First inference took 31.25 ms"
echo "[ INFO ]    Median:           12.50 ms"
echo "$@" >> asked"""


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directory that stands for the phone; `adb` on the PATH leads to it."""
    root = tmp_path / "phone"
    (root / "data/local/tmp").mkdir(parents=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "adb").write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent}/fake_adb.py "$@"\n')
    (tools / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("FAKE_PHONE", str(root))
    return root


def runner(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    return path


def left(phone: Path) -> list[Path]:
    return list((phone / "data/local/tmp").iterdir())


def test_each_call_that_the_program_writes_is_in_the_result(phone: Path, onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, PERF_TEST)
    found = slide_export.bench([onnx_bundle.path], rounds=3, calls=2, threads=4, device="adb:R58M", runner=program)
    (run,) = found.runs
    assert run.rounds_ms == ((7.2, 7.5),) * 3
    assert (run.load_ms, run.first_ms) == pytest.approx((169.475, 109))
    assert run.peak_mib == pytest.approx(91336704 / 2**20)
    assert run.evaluator == "onnxruntime_perf_test on Android"
    assert left(phone) == []


def test_what_the_phone_is_and_what_its_numbers_lack_is_told(phone: Path, onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, PERF_TEST)
    found = slide_export.bench([onnx_bundle.path], rounds=1, calls=2, device="adb:R58M", runner=program).environment
    assert (found.device, found.cpu, found.system) == ("adb:R58M", "Example Pixel of no make", "Android 15")
    assert (found.cores, found.memory_mib, found.governor) == (8, 7811932 // 1024, "schedutil")
    assert found.flags == ("asimd", "fphp", "asimdhp", "i8mm", "bf16")
    assert "the frequency governor is schedutil, not performance" in found.warnings
    assert any("this proves nothing" in warning for warning in found.warnings)


def test_a_median_alone_is_one_number_a_round_and_says_so(phone: Path, openvino_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, BENCHMARK_APP)
    found = slide_export.bench([openvino_bundle.path], rounds=2, calls=5, device="adb:R58M", runner=program)
    assert found.runs[0].rounds_ms == ((12.5,), (12.5,))
    assert (found.runs[0].load_ms, found.runs[0].first_ms) == (250.0, 31.25)
    assert any("percentiles are those of these medians" in warning for warning in found.environment.warnings)


def test_the_program_is_called_with_batch_threads_and_settings(
    phone: Path, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    program = runner(tmp_path, PERF_TEST)
    with connect(DeviceRequest("adb:R58M", keep=True, runner=program)) as device:
        settings = {**onnx_bundle.manifest.artifact.settings, "threads": 3}
        path = device.put(onnx_bundle.path) / "model.onnx"
        job = {"target": "onnx", "path": str(path), "settings": settings, "batch": 8}
        with device.worker("small", job, 3, 60.0) as worker:
            worker.call(5)
    (directory,) = left(phone)
    (asked,) = (directory / "asked").read_text().splitlines()
    assert "-m times -r 5 -f batch:8 -x 3 -o 99 -C session.intra_op.allow_spinning|1" in asked
    assert (directory / "0-small-onnx-fp32" / "model.onnx").is_file()


def test_a_program_that_fails_is_told_with_its_last_words(phone: Path, onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, "echo 'Load model failed: unsupported opset' >&2; exit 1")
    with pytest.raises(MeasurementError, match="found no time; it says: Load model failed: unsupported opset"):
        slide_export.bench([onnx_bundle.path], device="adb:R58M", runner=program)
    assert left(phone) == []


def test_a_phone_that_is_not_there_is_told(phone: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceError, match="adb to reach adb:OTHER, it says: adb: device 'OTHER' not found"),
        connect(DeviceRequest("adb:OTHER", runner=runner(tmp_path, PERF_TEST))),
    ):
        pass


def test_a_phone_that_has_not_been_allowed_is_told(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STATE", "unauthorized")
    with (
        pytest.raises(DeviceError, match="to be ready, adb calls it 'unauthorized'"),
        connect(DeviceRequest("adb:R58M", runner=runner(tmp_path, PERF_TEST))),
    ):
        pass


def test_a_program_is_needed_and_of_one_target(
    phone: Path, onnx_bundle: Bundle, openvino_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="expected runner with onnxruntime_perf_test or benchmark_app"):
        connect(DeviceRequest("adb:R58M"))
    program = runner(tmp_path, PERF_TEST)
    with pytest.raises(RequestError, match="expected bundles of one target"):
        slide_export.bench([onnx_bundle.path, openvino_bundle.path], device="adb:R58M", runner=program)
    with pytest.raises(RequestError, match="for a proof, found 'adb:R58M'"):
        slide_export.verify(onnx_bundle.path, device="adb:R58M")


@pytest.mark.parametrize("answer", ["", "x", "a\nb\nc\nx\ny\nz\n\n\n", "0", "9" * 5000])
def test_a_phone_that_answers_something_else_is_one_sentence(
    answer: str, phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = connect(DeviceRequest("adb:R58M", runner=runner(tmp_path, PERF_TEST)))
    monkeypatch.setattr(device, "shell", lambda *_, **__: answer)
    for ask in (lambda: device.processors(), lambda: device.fingerprint(1, ["onnx"]), lambda: device._new_directory()):
        with pytest.raises(DeviceError, match=r"it answers '.{0,85}$"):
            ask()


def test_a_round_that_takes_too_long_is_our_own_limit(phone: Path, onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, "sleep 5")
    with pytest.raises(TimeLimitError, match=r"within 0\.5 s, found none; a longer timeout_s"):
        slide_export.bench([onnx_bundle.path], rounds=1, calls=1, device="adb:R58M", runner=program, timeout_s=0.5)


def test_a_runner_called_like_a_command_is_a_file(phone: Path, onnx_bundle: Bundle, tmp_path: Path) -> None:
    program = runner(tmp_path, PERF_TEST).rename(tmp_path / "$(touch RAN)run")
    found = slide_export.bench([onnx_bundle.path], rounds=1, calls=2, device="adb:R58M", runner=program)
    assert found.runs[0].rounds_ms == ((7.2, 7.5),)
    assert not list(tmp_path.rglob("RAN"))
