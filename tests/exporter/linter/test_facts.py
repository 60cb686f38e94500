"""Facts of targets make rules: one rule a fact, for the targets that it holds for, in the order of the checks."""

import pytest

from slide_export.backends import registry
from slide_export.core.lint import LintFact
from slide_export.linter import module_rules, onnx_rules
from slide_export.linter.facts import EVERY_TARGET, always, facts_of, limited, rules_of
from slide_export.linter.rules import judge

TARGETS = registry.names()


def test_a_fact_of_every_target_is_one_rule_of_all_that_say_nothing_else() -> None:
    check = {"data-dependent": always(lambda places: places)}
    found = rules_of(check)
    assert sorted(target for rule in found for target in rule.targets) == sorted(TARGETS)  # each in one of them
    (common,) = (fact for fact in EVERY_TARGET if fact.rule == "data-dependent")
    (rule,) = (rule for rule in found if (rule.fix, rule.source) == (common.fix, common.source))
    assert set(rule.targets) == {target for target in TARGETS if common in facts_of(target)}
    assert len(rule.targets) > 1
    assert [one.targets for one in rules_of(check, [rule.targets[0]])] == [rule.targets[:1]]


@pytest.mark.parametrize("target", TARGETS)
def test_a_targets_own_fact_takes_the_place_of_everybodys(target: str) -> None:
    found = [(fact.rule, fact.found_by) for fact in facts_of(target)]
    assert len(found) == len(set(found))  # nothing is said twice
    assert set(found) >= {(fact.rule, fact.found_by) for fact in EVERY_TARGET}


def test_another_check_of_the_same_rule_stays_beside_it() -> None:
    coreml = {(fact.check, fact.severity) for fact in facts_of("coreml") if fact.rule == "roll"}
    assert {"roll-gathers", ""} <= {check for check, _ in coreml}


def test_rules_stand_in_the_order_of_the_checks_and_facts_without_a_check_make_none() -> None:
    checks = {name: always(lambda places: places) for name in ("opset-in-full", "im2col", "gather")}
    assert [rule.id for rule in rules_of(checks)] == sorted(
        (rule.id for rule in rules_of(checks)), key=["opset", "im2col", "gather"].index
    )
    assert {rule.id for rule in rules_of(checks)} == {"opset", "im2col", "gather"}
    assert rules_of({}) == ()


def test_every_fact_is_found_by_a_check_of_modules_or_of_graphs() -> None:
    """A fact whose check nobody has would never be found."""
    known = {rule.id for rule in (*module_rules.rules(), *onnx_rules.rules())}
    assert {fact.rule for target in TARGETS for fact in facts_of(target)} == known


def test_a_limit_is_the_facts_own() -> None:
    above = limited(lambda limit: lambda numbers: [("", str(n)) for n in numbers if n > limit])
    fact = LintFact("rank", "error", "fix", "source", limit=5)
    assert list(above(fact)([5, 6])) == [("", "6")]
    with pytest.raises(TypeError, match="a limit in the fact of rank, found none"):
        above(LintFact("rank", "error", "fix", "source"))


def test_a_rule_says_what_its_fact_does() -> None:
    find = always(lambda places: places)
    for rule in rules_of({"im2col": find}):
        (fact,) = {f for t in rule.targets for f in facts_of(t) if f.rule == "im2col" and f.severity == rule.severity}
        (finding,) = judge([rule], [("a", "there")], TARGETS)
        assert (finding.fix, finding.source, finding.confirmed) == (fact.fix, fact.source, fact.confirmed)
