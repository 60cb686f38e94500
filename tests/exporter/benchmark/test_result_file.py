"""The JSON of a result: what is written is what is read, and what is no result is refused in a sentence."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from slide_export.benchmark import result_file as result
from slide_export.cli.views.benchmark import render
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.measurement import (
    ArtifactInfo,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Comparison,
    Environment,
    Interval,
    ModuleTime,
)
from slide_export.pages import markdown
from slide_export.pages.compose import compose

ONE = Interval(1.0, 0.5, 2.0)
RUN = ArtifactTiming(
    subject=ArtifactInfo("a", "onnx", "fp32", "swin", "swin_tiny", (224, 192), parity={"passed": True}),
    evaluator="ONNX Runtime",
    batch=2,
    settings={"threads": 2},
    rounds_ms=((1.0, 1.5), (1.25, 1.0)),
    warmup_calls=12,
    stable=True,
    import_ms=10.0,
    load_ms=20.0,
    first_ms=3.0,
    peak_mib=64.0,
    p50_ms=ONE,
    p90_ms=ONE,
    p99_ms=ONE,
    images_per_s=2000.0,
    profile=(ModuleTime("head", "Gemm", "gemm", 0.25),),
)
RESULT = BenchmarkResult(
    measured="2026-01-01T00:00:00+00:00",
    environment=Environment("here", "cpu", ("avx2",), 2, 1024, "", "Linux", "3.11", {"numpy": "2"}, 0.5, ("busy",)),
    protocol=BenchProtocol(2, 2, 2, (0, 1)),
    runs=(RUN, replace(RUN, stand_in="an evaluator", profile=())),
    comparisons=(Comparison(1, 0, ONE, "cannot tell"),),
)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    result.write(RESULT, tmp_path / "r.json")
    assert result.read(tmp_path / "r.json") == RESULT
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_the_schema_is_named_first() -> None:
    assert next(iter(json.loads(result.to_json(RESULT)).items())) == ("schema", result.SCHEMA)


def altered(*path: str | int, value: object) -> str:
    content = json.loads(result.to_json(RESULT))
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(content)


DEVICE = """{
    "schema": "slide-export/result/1",
    "measured": "2026-01-01T00:00:00+00:00",
    "environment": {"device": "a phone", "cpu": "its chip"},
    "protocol": {"rounds": 2, "calls": 3},
    "runs": [{
        "subject": {"name": "a", "target": "coreml", "precision": "fp32", "family": "swin", "variant": "swin_tiny",
                    "image_size": [224, 192]},
        "evaluator": "CoreML", "batch": 2, "rounds_ms": [[4.0, 5.0, 6.0], [4.0, 5.0, 7.0]], "warmup_calls": 8,
        "stable": true, "load_ms": 20.0, "first_ms": 3.0
    }, {
        "subject": {"name": "b", "target": "coreml", "precision": "fp32", "family": "swin", "variant": "swin_tiny",
                    "image_size": [224, 192]},
        "evaluator": "CoreML", "batch": 2, "rounds_ms": [[2.0, 2.5, 3.0], [2.0, 2.5, 3.5]], "warmup_calls": 8,
        "stable": true, "load_ms": 20.0, "first_ms": 3.0
    }]
}"""


def test_a_device_writes_its_rounds_and_needs_no_statistics() -> None:
    found = result.from_json(DEVICE, "phone.json")
    first, second = found.runs
    assert (first.p50_ms.value, second.p50_ms.value) == (5.0, 2.5)
    assert first.p50_ms.low <= 5.0 <= first.p50_ms.high
    assert second.images_per_s == 800.0
    ((pair,), rounds) = found.comparisons, found.protocol.rounds
    assert (pair.a, pair.b, pair.ratio.value, pair.verdict, rounds) == (1, 0, 0.5, "cannot tell", 2)
    assert (first.import_ms, first.peak_mib, first.profile, found.environment.flags) == (None, None, (), ())


def test_what_is_derived_is_what_bench_writes() -> None:
    whole = result.from_json(DEVICE, "phone.json")
    again = result.from_json(result.to_json(whole), "again.json")
    assert again == whole
    without = json.loads(result.to_json(whole))
    del without["runs"][0]["p90_ms"], without["comparisons"]
    assert result.from_json(json.dumps(without), "less.json") == whole


def test_every_page_and_table_shows_what_a_device_does_not_tell() -> None:
    found = result.from_json(DEVICE, "phone.json")
    text = markdown.write(compose([found], {}))
    assert "None" not in text
    assert "nan" not in text
    assert "threads | as the runtime chooses" in text
    console = Console(width=150, record=True, file=io.StringIO())
    for part in render(found):
        console.print(part)
    assert "a phone: its chip\n" in console.export_text()


@pytest.mark.parametrize("rounds", ["[]", "[[]]", "[[1.0], [1.0, 2.0]]", "[[0.0]]", '["x"]'])
def test_rounds_that_say_nothing_are_refused(rounds: str) -> None:
    text = DEVICE.replace("[[4.0, 5.0, 6.0], [4.0, 5.0, 7.0]]", rounds)
    with pytest.raises(BundleError, match=r"phone\.json, found none"):
        result.from_json(text, "phone.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "found none"),
        ("[]", "found none"),
        (altered("schema", value="other/9"), "found 'other/9'"),
        (altered("comparisons", 0, "verdict", value="better"), "no verdict: 'better'"),
        (altered("runs", 0, "unknown", value=1), "unknown"),
        (altered("runs", 0, "p50_ms", value=1.0), "found none"),
    ],
)
def test_what_is_no_result_is_refused_with_its_file(text: str, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as refusal:
        result.from_json(text, "phone.json")
    assert "phone.json" in str(refusal.value)


def test_a_file_that_cannot_be_read_or_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        result.read(tmp_path / "absent.json")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="expected to write"):
        result.write(RESULT, tmp_path / "file" / "r.json")


def test_what_is_not_finite_is_null_and_every_page_says_so() -> None:
    """As `bench` of a rejected artifact whose outputs overflow."""
    output = {"name": "logits", "max_abs": float("inf"), "floor_max": 1e-6, "limit_max": 8e-6, "sqnr_db": float("-inf")}
    proof = {"outputs": [output, {**output, "max_abs": 0.0, "sqnr_db": float("inf")}], "passed": False, "top1": 0.5}
    lossy = {"passed": False, "drop": None, "sqnr_db": float("nan"), "sentence": "no numbers"}
    first = replace(RUN, subject=replace(RUN.subject, parity=proof, accuracy=lossy))
    text = result.to_json(replace(RESULT, runs=(first,), comparisons=()))
    assert json.loads(text, parse_constant=pytest.fail)["runs"][0]["subject"]["parity"]["outputs"][0]["max_abs"] is None
    page = compose([result.from_json(text, "a file")], {})
    table = markdown.write(page)
    assert "| FAILED | not finite | 1.00e-06 | 8.00e-06 | not finite |" in table
    assert "| FAILED | 0.00e+00 | 1.00e-06 | 8.00e-06 | exact |" in table


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (
            ("runs", 0, "profile"),
            [{"module": 3, "operator": "x", "kind": "gemm", "ms": 1}],
            "module to be text, found 3",
        ),
        (("runs", 0, "stable"), "yes", 'stable to be true or false, found "yes"'),
        (("runs", 0, "subject", "image_size"), [224], "image_size to be a list of 2"),
        (("environment", "cores"), 2.5, "environment.cores to be a whole number"),
        (("environment", "warnings"), "none", "environment.warnings to be a list"),
        (("protocol", "confidence"), 1, "protocol.confidence to be between 0 and 1"),
        (("protocol",), None, "protocol to be an object"),
        (("runs",), {}, "runs to be a list"),
        (("runs", 0, "settings"), {"a": {"b": [[1e400]]}}, None),
        (("runs", 0, "subject", "parity"), {"passed": 1, "outputs": []}, "parity.passed to be true or false"),
        (("runs", 0, "subject", "parity"), {"passed": True, "outputs": 3}, "parity.outputs to be a list"),
        (("runs", 0, "subject", "accuracy"), {"artifact": 3}, "accuracy.artifact to be an object or null"),
        (("measured",), 20260101, "measured to be text"),
    ],
)
def test_the_field_of_another_type_is_named(path: tuple[str | int, ...], value: object, reason: str | None) -> None:
    text = altered(*path, value=value)
    if reason is None:
        result.from_json(text, "phone.json")
        return
    with pytest.raises(BundleError) as refused:
        result.from_json(text, "phone.json")
    assert reason in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["[" * 100_000, "null", '"x"', "1", '{"schema": "\\ud800"}', "NaN", "\x1b"])
def test_a_text_of_another_form_is_one_sentence(text: str) -> None:
    with pytest.raises(BundleError) as refused:
        result.from_json(text, "phone.json")
    assert str(refused.value).isprintable()


def test_no_number_that_json_lacks_is_written() -> None:
    found = result.from_json(DEVICE, "phone.json")
    subject = replace(found.runs[0].subject, parity={"passed": False, "outputs": [{"max_abs": float("inf")}]})
    text = result.to_json(replace(found, runs=(replace(found.runs[0], subject=subject), *found.runs[1:])))
    assert json.loads(text, parse_constant=pytest.fail)["runs"][0]["subject"]["parity"]["outputs"] == [
        {"max_abs": None}
    ]
