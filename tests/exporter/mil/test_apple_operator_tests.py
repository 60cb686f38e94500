"""coremltools' own operator tests, with our evaluator in the place of CoreML; see apple_operator_plugin.py."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OPSETS = ("iOS14", "iOS15", "iOS16", "iOS17", "iOS18")
PER_FUNCTION = 3  # parametrizations of a test function; all of them are 19 thousand tests
FEWEST_COMPARISONS = 800  # of the 820 that coremltools 9.0 gives
TIMEOUT_S = 1500

# Operations that no graph of this project has.
UNIMPLEMENTED = {
    *("affine", "crop", "crop_resize"),
    *("cond", "while_loop"),
    *("gru", "lstm", "rnn"),
    *("list_gather", "list_length", "list_read", "list_scatter", "list_write", "make_list"),
    *("random_bernoulli", "random_categorical", "random_normal", "random_uniform"),
    *("reverse_sequence", "scatter", "scatter_along_axis", "scatter_nd"),
    "local_response_norm",  # Apple's own expected values contradict each other, see exporter/mil/normalization.py
    "non_maximum_suppression",
}
OTHER_GAPS = (
    r"^resample '\w+': \w+='\w+' is not implemented",  # GridSample's of deformable attention alone
    r"^topk '\w+': sort=False leaves the order undefined",
    r"^Exception: State functionality is only supported on macOS",  # make_state() of coremltools itself
    r"^an ML Program was expected, found neuralNetwork",
)


def is_listed(reason: str) -> bool:
    if reason.startswith("not implemented by the evaluator: "):
        return " operand " not in reason and set(re.findall(r"operation '(\w+)' \(", reason)) <= UNIMPLEMENTED
    return any(re.match(pattern, reason) for pattern in OTHER_GAPS)


def run_apples_tests(directory: Path) -> dict[str, Any]:
    spec = importlib.util.find_spec("coremltools")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0]) / "converters/mil/mil/ops/tests"
    report = directory / "report.json"
    settings = {
        "APPLE_TESTS_PER_FUNCTION": str(PER_FUNCTION),
        "APPLE_TESTS_REPORT": str(report),
        "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
        "OMP_NUM_THREADS": "1",
        "PYMIL_TEST_TARGETS": "mlprogram",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    own_config = ["-c", os.devnull, "--rootdir", str(directory), "-p", "no:cacheprovider", "-W", "ignore"]
    command = [sys.executable, "-m", "pytest", *own_config, "-p", "apple_operator_plugin", "-q", "--tb=no"]
    paths = [str(root / opset) for opset in OPSETS]
    done = subprocess.run(
        [*command, *paths], env={**os.environ, **settings}, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert report.is_file(), done.stdout[-4000:] + done.stderr[-4000:]
    result: dict[str, Any] = json.loads(report.read_text())
    return result


@pytest.mark.slow
def test_apples_operator_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_apples_tests(tmp_path)
    failures: dict[str, str] = report["failures"]
    with capsys.disabled():
        print(
            f"\n{report['comparisons']} comparisons {report['by_precision']}, {len(report['mismatches'])} mismatches,"
        )
        print(f"{len(report['operations'])} operation types; tests {report['outcomes']}, {len(failures)} failed")
    assert report["mismatches"] == []
    assert report["comparisons"] >= FEWEST_COMPARISONS
    assert {test: reason for test, reason in failures.items() if not is_listed(reason)} == {}
