"""A diagnosis for people and for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from slide_export.diagnosis.report import Diagnosis, Row, decibels

from .literal import literal
from .table import plain_table

SHOWN_DEPTH = 3  # model, stage, block and the block's parts
WIDTH = 120  # of a log, where there is no terminal


def as_plain(found: Diagnosis) -> dict[str, Any]:
    """Diagnosis as plain values for JSON; decibels that are not finite as in the table: "exact" or "overflow"."""
    rows = [
        {**{name: _plain(value) for name, value in asdict(row).items()}, "explained": row.explained}
        for row in found.rows
    ]
    culprit = found.culprit
    return {
        **asdict(found),
        "rows": rows,
        "culprit": None if culprit is None else culprit.module,
        "verdict": found.verdict,
    }


def _plain(value: Any) -> Any:
    return decibels(value) if isinstance(value, float) and not math.isfinite(value) else value


def show(found: Diagnosis, *, every: bool = False) -> None:
    """Print the table to standard output: the verdict last, where a reader looks."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    run = literal(f"{found.images} images ({found.source}), {found.evaluator}")
    console.print(f"[bold]{literal(found.precision)}[/], {run}")
    console.print(render(found, every=every))
    if found.repeated:
        names = ", ".join(map(literal, found.repeated))
        told = "not compared, for one image calls them several times and the artifact does not tell its calls apart"
        console.print(f"{told}: {names}", soft_wrap=True)
    fine = "[green]✓[/]" if found.refused_below_db is None else "[yellow]![/]"
    mark = fine if found.culprit is None else "[red]✗[/]"
    console.print(f"{mark} {literal(found.verdict)}", soft_wrap=True)


def render(found: Diagnosis, *, every: bool = False) -> Table:
    """Table of blocks, their parts and the culprit, or of every module."""
    floor = f"{found.precision} floor"
    table = plain_table(("module", "SQNR", floor, "lost here", floor, ""), words=(0, 5))
    culprit = found.culprit
    shown = [row for row in found.rows if every or row.depth < SHOWN_DEPTH or row is culprit]
    for row in shown:
        hidden = [other for other in found.rows if other.module.startswith(f"{row.module}.") and other not in shown]
        worst = min([row, *hidden], key=lambda one: one.loss)
        cells = (row.sqnr_db, row.floor_db, worst.added_db, worst.added_floor_db)
        style = "bold red" if row is culprit else None
        blamed = "← too lossy" if row.explained else "← first unexplained"
        note = blamed if row is culprit else _note([row, *hidden])
        table.add_row("  " * row.depth + literal(row.label), *map(decibels, cells), note, style=style)
    return table


def _note(rows: Sequence[Row]) -> str:
    return "" if all(row.explained for row in rows) else "[red]unexplained[/]"
