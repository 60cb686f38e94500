"""Tables of tests/benchmarks/RESULTS.md, so that a page quotes the measurement and never a copy of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "tests" / "benchmarks" / "RESULTS.md"


@dataclass(frozen=True)
class Table:
    """A Markdown table.

    Attributes:
        header: one cell a column.
        rows: cells as they are written, `**` and backticks included.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of a column, without marks."""
        place = self.header.index(name)
        return tuple(plain(row[place]) for row in self.rows)

    def numbers(self, name: str) -> tuple[float, ...]:
        """The leading number of each cell of a column, 0 where there is none."""
        found = (re.match(r"-?\d+(\.\d+)?", cell) for cell in self.column(name))
        return tuple(float(match[0]) if match else 0.0 for match in found)

    def markdown(self) -> str:
        """The table as it stands in the file."""
        lines = (self.header, ("---",) * len(self.header), *self.rows)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(heading: str, first: str = "", path: Path = RESULTS) -> Table:
    """The first table under a heading whose first column is headed `first`, any where that is empty.

    Raises:
        KeyError: there is no such heading, or no such table under it.
    """
    sections = re.split(r"^##? ", path.read_text(), flags=re.MULTILINE)
    for section in sections:
        if section.startswith(heading):
            return _first_table(section, first, heading)
    raise KeyError(f"no heading that begins with {heading!r} in {path.name}")


def _first_table(section: str, first: str, heading: str) -> Table:
    for block in re.findall(r"(?:^\|.*\n?)+", section, flags=re.MULTILINE):
        lines = [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in block.splitlines()]
        if not first or lines[0][0] == first:
            return Table(lines[0], tuple(lines[2:]))
    raise KeyError(f"no table headed {first!r} under {heading!r}")


def plain(cell: str) -> str:
    """A cell without emphasis and code marks."""
    return cell.replace("**", "").replace("`", "").strip()
