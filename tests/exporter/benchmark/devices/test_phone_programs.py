"""What programs on a phone are told and what they say; the words are those of their sources, nothing was recorded."""

import pytest

from slide_export.benchmark.devices import phone_programs
from slide_export.benchmark.devices.phone_programs import PROGRAMS
from slide_export.core.errors import MeasurementError

JOB = {"path": "/x/model.xml", "batch": 2, "settings": {"threads": 4, "config": {"INFERENCE_PRECISION_HINT": "f32"}}}


def test_perf_test_tells_every_call_load_first_and_peak() -> None:
    output = (
        "Session creation time cost: 0.5 s\nFirst inference time cost: 30 ms\nPeak working set size: 1 bytes\n:end:\n"
        "dir,0.010,1048576,50,0\ndir,1.2e-02,2097152,50,1\n"
    )
    report = phone_programs.read(PROGRAMS["onnx"], "small", output)
    assert report.ms == pytest.approx((10.0, 12.0))
    assert (report.load_ms, report.first_ms, report.peak_mib) == (500.0, 30.0, 2.0)


def test_benchmark_app_tells_a_median() -> None:
    output = "[ INFO ]    Median:           5.31 ms\n[ INFO ]    Average:          5.40 ms\n:end:\n"
    report = phone_programs.read(PROGRAMS["openvino"], "small", output)
    assert report == phone_programs.ProgramReport((5.31,))


def test_benchmark_app_is_told_batch_threads_and_precision() -> None:
    line = phone_programs.line(PROGRAMS["openvino"], "benchmark_app", JOB, 5)
    assert "./benchmark_app -m /x/model.xml -d CPU -niter 5 -b 2 -nthreads 4 -api sync -hint none" in line
    assert "-infer_precision f32" in line


def test_words_without_a_time_are_no_measurement() -> None:
    with pytest.raises(MeasurementError, match=r"it says: sh: .*cannot execute"):
        phone_programs.read(PROGRAMS["onnx"], "small", "sh: ./program: cannot execute\n:end:\n")


@pytest.mark.parametrize("seconds", ["x", "-1", "1e400", "nan", "0"])
def test_a_number_that_no_clock_has_shown_is_no_measurement(seconds: str) -> None:
    with pytest.raises(MeasurementError, match="to say how long small takes, found") as told:
        phone_programs.read(PROGRAMS["onnx"], "small", f":end:\ndir,{seconds},1048576,50,0\n")
    assert "\n" not in str(told.value)


def test_a_runner_whose_name_is_shell_is_a_word() -> None:
    line = phone_programs.line(PROGRAMS["openvino"], "$(touch RAN); run", JOB, 1)
    assert "'./$(touch RAN); run'" in line
