"""The JSON of a result: what is written is what is read, and what is no result is refused in a sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slide_export import result
from slide_export.errors import BundleError, RequestError
from slide_export.result import (
    Comparison,
    Environment,
    Interval,
    ModuleTime,
    Protocol,
    Result,
    Run,
    Subject,
)

ONE = Interval(1.0, 0.5, 2.0)
RUN = Run(
    subject=Subject("a", "onnx", "fp32", "swin", "swin_tiny", (224, 192), parity={"passed": True}),
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
RESULT = Result(
    measured="2026-01-01T00:00:00+00:00",
    environment=Environment("here", "cpu", ("avx2",), 2, 1024, "", "Linux", "3.11", {"numpy": "2"}, 0.5, ("busy",)),
    protocol=Protocol(2, 2, 2, (0, 1)),
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
