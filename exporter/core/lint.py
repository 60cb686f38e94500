"""The facts that the linter goes by: what a rule says of a target, apart from how the rule is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "hint"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")


@dataclass(frozen=True)
class LintFact:
    """One thing that fails or runs badly on a target, or could run faster.

    Attributes:
        rule: id of the rule, as findings have it.
        severity: "error" will fail, "warning" runs badly, "hint" could run faster.
        fix: what to do.
        source: who says so.
        confirmed: False where nobody can confirm it without the device.
        limit: of a rule that counts: the highest rank, the latest opset.
        check: how it is found, where that is not the rule's id.
    """

    rule: str
    severity: Severity
    fix: str
    source: str
    confirmed: bool = True
    limit: int | None = None
    check: str = ""

    @property
    def found_by(self) -> str:
        """Name of the check that finds it."""
        return self.check or self.rule
