"""Names, numbers and comparisons, said."""

from dataclasses import replace

import pytest

from slide_export.pages import phrasing as words
from tests.exporter.pages.synthetic import compared, result, run, subject

RUN = run(subject("swin_tiny"), 50.0)


def test_a_run_is_named_by_model_precision_runtime_and_batch() -> None:
    assert words.title(RUN) == "swin_tiny fp32 under OpenVINO"
    assert words.title(replace(RUN, batch=8, evaluator="ONNX Runtime 1.32.0 on CPU")).endswith(
        "under ONNX Runtime, batch 8"
    )


def test_a_name_that_says_the_precision_does_not_say_it_twice() -> None:
    assert words.subject(run(subject("digits-onnx-fp32"), 1.0)) == "digits-onnx-fp32"


def test_random_weights_are_said() -> None:
    assert words.detail(run(subject("a", weights="random", lowering="taps"), 1.0)) == (
        "openvino, lowering taps, random weights"
    )


def test_a_comparison_is_turned_round() -> None:
    found = words.between(result((RUN, RUN), (compared(1, 0, 0.8, "faster", 0.05),)), 0, 1)
    assert found is not None
    assert found.verdict == "slower"
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((1.25, 1 / 0.85, 1 / 0.75))


def test_what_was_not_compared_has_no_comparison() -> None:
    assert words.between(result((RUN, RUN)), 0, 1) is None


def test_a_run_is_told_beside_the_first_of_its_target_and_batch() -> None:
    onnx = replace(RUN, subject=subject("swin_tiny", "onnx"))
    runs = (RUN, onnx, replace(onnx, batch=4), RUN, onnx)
    assert words.bases(result(runs)) == {0: None, 1: 0, 2: None, 3: 0, 4: 1}


@pytest.mark.parametrize(("value", "said"), [(61.234, "61.23"), (0.012345, "0.0123"), (1000.0, "1000.00")])
def test_milliseconds_keep_three_digits(value: float, said: str) -> None:
    assert words.ms(value) == said
