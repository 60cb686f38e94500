"""Outcomes in a terminal."""

import io

from rich.console import Console

from slide_export.cli.views.verification import render
from slide_export.verification.outcome import VerifyResult


def test_a_row_a_bundle_and_why_each_failed(outcomes: tuple[VerifyResult, ...]) -> None:
    console = Console(width=250, file=io.StringIO(), record=True)
    for part in render(outcomes):
        console.print(part, soft_wrap=isinstance(part, str))
    lines = console.export_text().splitlines()
    assert [line[0] for line in lines[2:5]] == ["✗", "✗", "✓"]
    assert lines[5:] == [f"{one.path}: {one.message}" for one in outcomes[:2]]
