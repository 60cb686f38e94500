import pytest

from slide_export.backends import registry as backends
from slide_export.core.errors import RequestError
from slide_export.linter.rules import Finding, Rule, judge, known_targets, union


def rule(targets: tuple[str, ...] = backends.names()) -> "Rule[list[tuple[str, str]]]":
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


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=f"{', '.join(backends.names())}; found 'abacus'"):
        known_targets(["onnx", "abacus"])
    assert known_targets([]) == backends.names()
