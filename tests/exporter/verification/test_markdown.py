"""The table and the failures of a CI's summary."""

from dataclasses import replace
from pathlib import Path

from slide_export.verification import markdown
from slide_export.verification.outcome import VerifyResult


def test_a_row_a_bundle_and_a_section_a_failure(outcomes: tuple[VerifyResult, ...]) -> None:
    lines = markdown.write(outcomes).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert lines[0] == "# slide-export verify: 1 of 3 proved"
    assert [row.split(" | ")[3] for row in rows[2:5]] == ["✗ not equal", "✗ not proved", "✓ proved equal"]
    assert [line[3:] for line in lines if line.startswith("## ")] == ["Bundles", *(str(o.path) for o in outcomes[:2])]
    assert rows[-1].startswith("| logits | ")


def test_every_row_has_as_many_cells_as_its_head(outcomes: tuple[VerifyResult, ...]) -> None:
    odd = replace(outcomes[1], path=Path("a|b"))
    rows = [line for line in markdown.write((outcomes[2], odd)).splitlines() if line.startswith("|")]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {9}
