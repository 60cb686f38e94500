"""What a rule says about one place, and how a table of rules is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeAlias, TypeVar

from slide_export.core.errors import RequestError

T = TypeVar("T")
Severity: TypeAlias = Literal["error", "warning", "hint"]
Device: TypeAlias = tuple[str, str]
"""A PyTorch module name ("" where unknown, or the root) and what was found there."""

TARGETS = ("coreml", "onnx", "openvino", "tensorrt")
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")


@dataclass(frozen=True)
class Finding:
    """One fault, or one chance to run faster.

    Attributes:
        targets: the targets that it concerns.
        severity: "error" will fail, "warning" runs badly, "hint" could run faster.
        rule: the rule's id.
        module: PyTorch module name such as layers.0.blocks.1.attn; "" where unknown, or the whole model.
        found: what is there.
        fix: what to do.
        source: who says so.
        confirmed: False where nobody can confirm it without the device.
    """

    targets: tuple[str, ...]
    severity: Severity
    rule: str
    module: str
    found: str
    fix: str
    source: str
    confirmed: bool = True


@dataclass(frozen=True)
class Rule(Generic[T]):
    """One rule over a subject of type T; the attributes that a `Finding` has too mean the same here.

    Attributes:
        find: yields the places that break the rule.
    """

    id: str
    severity: Severity
    targets: tuple[str, ...]
    find: Callable[[T], Iterable[Device]]
    fix: str
    source: str
    confirmed: bool = True


def judge(rules: Sequence[Rule[T]], subject: T, targets: Sequence[str]) -> tuple[Finding, ...]:
    """Returns what the rules for these targets find: one finding a rule and module, the rules' order kept."""
    findings = []
    for rule in rules:
        concerned = tuple(target for target in rule.targets if target in targets)
        if not concerned:
            continue
        places: dict[str, list[str]] = {}
        for module, found in rule.find(subject):
            places.setdefault(module, []).append(found)
        for module, here in places.items():
            what = here[0] + (f" (and {len(here) - 1} more here)" if len(here) > 1 else "")
            findings.append(
                Finding(concerned, rule.severity, rule.id, module, what, rule.fix, rule.source, rule.confirmed)
            )
    return tuple(findings)


def union(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns the findings, worst first, with those that differ in their targets alone as one."""
    targets: dict[Finding, tuple[str, ...]] = {}
    for finding in findings:
        key = replace(finding, targets=())
        targets[key] = tuple(sorted({*targets.get(key, ()), *finding.targets}))
    merged = [replace(key, targets=concerned) for key, concerned in targets.items()]
    return tuple(sorted(merged, key=lambda finding: SEVERITIES.index(finding.severity)))


def known_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """Returns the targets asked for, or all of them where none is.

    Raises:
        RequestError: there is no such target.
    """
    asked = tuple(dict.fromkeys(targets))
    unknown = [target for target in asked if target not in TARGETS]
    if unknown:
        raise RequestError(f"expected targets of {', '.join(TARGETS)}; found {', '.join(map(repr, unknown))}")
    return asked or TARGETS
