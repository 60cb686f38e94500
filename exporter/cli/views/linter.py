"""Findings as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from slide_export.linter.rules import Finding

from .literal import literal
from .table import plain_table

COLOURS = {"error": "red", "warning": "yellow", "hint": "dim"}
LISTED = 4  # modules that a row names one by one
UNCONFIRMED = "[dim]only the device can confirm[/]"


def render(findings: Sequence[Finding]) -> Table:
    """Table of one row a rule, in the order given: the modules that break it and the first of what was found."""
    rows: dict[Finding, list[Finding]] = {}
    for finding in findings:
        rows.setdefault(replace(finding, module="", found=""), []).append(finding)
    columns = ("", "rule", "targets", "module", "found, fix, source")
    table = plain_table(columns, words=range(len(columns)), fold=True, whole=(1,))
    for rule, group in rows.items():
        lines = [literal(group[0].found), f"[bold]{literal(rule.fix)}[/]", f"[dim]{literal(rule.source)}[/]"]
        severity = f"[{COLOURS[rule.severity]}]{rule.severity}[/]"
        table.add_row(
            severity,
            rule.rule,
            " ".join(rule.targets),
            _modules(group),
            "\n".join(lines if rule.confirmed else [*lines, UNCONFIRMED]),
        )
    return table


def _modules(group: Sequence[Finding]) -> str:
    names = [literal(finding.module or "-") for finding in group]
    rest = len(names) - LISTED
    return "\n".join(names[:LISTED] + ([f"and {rest} more"] if rest > 0 else []))
