"""A pytest plugin under which coremltools' own operator tests check our evaluator.

Those tests build one-operator programs, convert them and compare CoreML's prediction with numpy or torch; away from
macOS they skip the comparison. Here the evaluator reads the saved package and stands in for the prediction.

Environment: APPLE_TESTS_REPORT names the JSON file to write, APPLE_TESTS_PER_FUNCTION caps the parametrizations of one
test function (evenly spaced ones are kept).

Source: coremltools 9.0 `converters/mil/testing_utils.py` (`compare_backend`, `run_core_ml_predict`).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import testing_utils

from slide_export.mil import Evaluator, MilError, Package
from slide_export.mil.program import Literal

# Largest error relative to max(1, largest expected magnitude). Apple's own tolerance for fp16 is 0.5.
TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3}

report: dict[str, Any] = {"comparisons": 0, "by_precision": defaultdict(int), "mismatches": [], "failures": {}}
report["operations"] = set()
reasons: list[str] = []


def as_fed(array: Any, element: str) -> np.ndarray[Any, Any]:
    """Core ML converts what it is given to the input's type; ours refuses, so the conversion happens here."""
    return np.atleast_1d(array).astype({"fp16": np.float16, "fp32": np.float32}.get(element, np.int32))


def precision(package: Package) -> str:
    """`fp16` if the program declares that type anywhere: tests of the fp32 configuration have mixed operands too."""
    types = [*package.program.inputs.values(), *(out.type for op in package.operations() for out in op.outputs)]
    literals = [b.type for op in package.operations() for _, bs in op.bindings() for b in bs if isinstance(b, Literal)]
    return "fp16" if any(declared.element == "fp16" for declared in (*types, *literals)) else "fp32"


def predict(model: Any, data: dict[str, Any], state: Any = None) -> dict[str, Any]:
    try:
        if not model.is_package:
            raise MilError(f"an ML Program was expected, found {model.get_spec().WhichOneof('Type')}")
        package = Package.read(model.package_path)
        evaluator = Evaluator(package, "typed")
        types = package.program.inputs
        feeds = {name: as_fed(value, types[name].element) for name, value in data.items()}
        outputs = evaluator.run(feeds)
    except MilError as error:
        reasons.append(str(error))
        raise
    report["operations"].update(op.type for op in package.operations())
    return {name: _as_predicted(package, name, array, outputs) for name, array in outputs.items()}


def _as_predicted(package: Package, name: str, array: Any, outputs: dict[str, Any]) -> Any:
    """The classifier's outputs as Core ML returns them: a plain label and a dictionary of probabilities."""
    last = package.operations()[-1]
    if last.type != "classify":
        return array
    if name == last.outputs[0].name:
        return array.item()
    classes = last.inputs["classes"][0]
    return dict(zip(package.value(classes), array.tolist(), strict=True))  # type: ignore[arg-type]


def compare_backend(
    mlmodel: Any,
    input_key_values: dict[str, Any],
    expected_outputs: dict[str, Any],
    dtype: str = "fp32",
    atol: float = 0.0,
    rtol: float = 0.0,
    also_compare_shapes: bool = True,
    state: Any = None,
    allow_mismatch_ratio: float = 0.0,
) -> dict[str, Any]:
    predicted = predict(mlmodel, input_key_values)
    kind = precision(Package.read(mlmodel.package_path))
    for name, expected in expected_outputs.items():
        found = testing_utils._get_coreml_out_from_dict(predicted, name)
        problem = difference(found, expected, TOLERANCES[kind])
        report["comparisons"] += 1
        report["by_precision"][kind] += 1
        if problem:
            report["mismatches"].append(f"{os.environ.get('PYTEST_CURRENT_TEST')}: {problem}")
            reasons.append(f"MISMATCH {problem}")
            raise AssertionError(problem)
    return predicted


def difference(found: Any, expected: Any, tolerance: float) -> str:
    """Nothing if `found` is what was expected, else what is wrong."""
    if not isinstance(found, np.ndarray):
        if isinstance(found, dict):
            worst = max(abs(found[key] - expected[key]) for key in expected)
            return "" if worst <= tolerance else f"probabilities differ by {worst}"
        return "" if found == expected else f"{expected!r} was expected, found {found!r}"
    wanted = np.asarray(expected)
    if found.shape != wanted.shape and not (wanted.shape in ((), (1,)) and found.shape in ((), (1,))):
        return f"shape {wanted.shape} was expected, found {found.shape}"
    x, y = found.astype(np.float64).reshape(wanted.shape), wanted.astype(np.float64)
    finite = np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return "infinities or NaN stand elsewhere"
    if not finite.any():
        return ""
    error = np.abs(x - y)[finite].max() / max(1.0, np.abs(y[finite]).max())
    return "" if error <= tolerance else f"relative error {error:.2e} above {tolerance:.0e}"


def pytest_configure() -> None:
    testing_utils.compare_backend = compare_backend
    ct.models.MLModel.predict = predict
    ct.models.utils._macos_version = lambda: (26, 0)  # some tests skip themselves below a version


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cap = int(os.environ["APPLE_TESTS_PER_FUNCTION"])
    groups: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        groups[f"{item.path}::{item.nodeid.split('[')[0]}"].append(item)  # outside rootdir a node id has no folder
    kept: list[pytest.Item] = []
    for group in groups.values():
        picks = sorted({round(i) for i in np.linspace(0, len(group) - 1, min(cap, len(group)))})
        kept += [group[pick] for pick in picks]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    reasons.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    result = yield
    report.setdefault("outcomes", defaultdict(int))
    if result.when == "call" or result.outcome != "passed":
        report["outcomes"][result.outcome] += 1
    if result.failed:
        cause = reasons[-1] if reasons else f"{call.excinfo.typename}: {call.excinfo.value}" if call.excinfo else "?"
        report["failures"][f"{item.path.parent.name}/{item.nodeid}"] = cause[:400]
    return result


def pytest_sessionfinish() -> None:
    report["operations"] = sorted(report["operations"])
    Path(os.environ["APPLE_TESTS_REPORT"]).write_text(json.dumps(report, indent=1))
