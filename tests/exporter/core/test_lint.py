"""Rules over a subject: one finding a rule and module, for the targets asked for; findings that are alike are one."""

import pytest

from slide_export.core.lint import SEVERITIES, Finding, LintFact, Rule, judge, union

TARGETS = ("coreml", "onnx", "openvino")


def rule(targets: tuple[str, ...] = TARGETS) -> "Rule[list[tuple[str, str]]]":
    return Rule("id", "warning", targets, lambda places: places, "fix", "source")


def test_places_of_one_module_are_one_finding() -> None:
    found = judge([rule()], [("a", "first"), ("b", "other"), ("a", "second")], ("onnx",))
    assert [(f.module, f.found) for f in found] == [("a", "first (and 1 more here)"), ("b", "other")]


def test_only_the_targets_asked_for_are_judged() -> None:
    assert judge([rule(("coreml",))], [("a", "first")], ("onnx",)) == ()
    assert judge([rule()], [("a", "first")], ("onnx", "coreml"))[0].targets == ("coreml", "onnx")


def test_union_joins_targets_and_puts_errors_first() -> None:
    hint = Finding(("onnx",), "hint", "a", "", "", "", "")
    error = Finding(("onnx",), "error", "b", "", "", "", "")
    other = Finding(("coreml",), "hint", "a", "", "", "", "")
    assert [(f.rule, f.targets) for f in union([hint, error, other])] == [("b", ("onnx",)), ("a", ("coreml", "onnx"))]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_worst_severity_is_first(severity: str) -> None:
    findings = [Finding(("onnx",), one, "a", "", "", "", "") for one in reversed(SEVERITIES)]
    assert [one.severity for one in union(findings)] == list(SEVERITIES)
    assert SEVERITIES[0] == "error"


@pytest.mark.parametrize("change", [{"module": "m"}, {"found": "f"}, {"rule": "r"}, {"confirmed": False}])
def test_findings_that_differ_by_more_than_their_targets_stay_apart(change: dict[str, object]) -> None:
    one = Finding(("onnx",), "hint", "a", "", "", "", "")
    other = Finding(**{**vars(one), "targets": ("coreml",), **change})  # type: ignore[arg-type]
    assert len(union([one, other])) == 2
    assert len(union([one, Finding(**{**vars(one), "targets": ("coreml",)})])) == 1


def test_a_fact_is_found_by_its_rules_name_or_by_a_check_of_its_own() -> None:
    assert LintFact("roll", "hint", "fix", "source").found_by == "roll"
    assert LintFact("roll", "hint", "fix", "source", check="roll-gathers").found_by == "roll-gathers"
