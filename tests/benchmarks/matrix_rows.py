"""Rows of the matrix: kept as JSON lines while it runs, written as Markdown and as the table of what was proved."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Proved = dict[str, dict[str, dict[str, Any]]]

MIB = 2**20
FINISHED = (0, 1, 2)  # exported and judged, or refused by name; a crash or a missing target is tried again
HEADER = ("variant", "target", "precision", "M parameters", "MiB", "verdict", "largest error", "limit", "SQNR")

INTRODUCTION = """Full-size models with random weights, against the unfused PyTorch model in float64. Proved: the
error is within the limit, eight times what PyTorch itself loses at that precision. TensorRT engines are built without a
GPU; the graph that one is built from is proved. Only ms were measured on a quiet machine. A dash: not measured here.
"""


@dataclass(frozen=True)
class Row:
    """One variant for one target in one precision.

    Attributes:
        exit_code: of its export.
        message: why it failed, "" where it did not.
        seconds: from the start of its process to its end, proof included.
        parameters, bytes: of the train-time form and of the artifact, as it ships; 0 without one, or not told.
        parity: the manifest's "parity", None without one.
        latency_ms: median of a call at batch 1, None where nothing was measured.
        over_parent: its time over that of the model which it replaces, measured in one sitting.
        commit: of the code that made it, "" where it was not told.
        code: hash of its family's and its backend's code, "" where it was not told.
    """

    variant: str
    target: str
    precision: str
    exit_code: int
    message: str
    seconds: float
    parameters: int = 0
    bytes: int = 0
    parity: dict[str, Any] | None = None
    latency_ms: float | None = None
    over_parent: float | None = None
    commit: str = ""
    code: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a row the same row in a later run."""
        return self.variant, self.target, self.precision

    @property
    def finished(self) -> bool:
        """Whether it need not be tried again."""
        return self.exit_code in FINISHED

    @property
    def timed(self) -> bool:
        """Whether its latency stands in it, or nothing is there to measure."""
        return self.latency_ms is not None or self.exit_code != 0

    @property
    def verdict(self) -> str:
        """What the table says of it."""
        if self.exit_code == 0:
            return "proved"
        return {1: "not equal", 2: f"refused: {self.message}"}.get(self.exit_code, f"failed: {self.message}")


def read(path: Path) -> list[Row]:
    """The rows of earlier runs, the last of each key; none without a file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return list({row.key: row for row in (Row(**json.loads(line)) for line in lines)}.values())


def append(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(asdict(row), allow_nan=False) + "\n" for row in rows)


def markdown(rows: Iterable[Row], machine: str) -> str:
    """The whole table."""
    columns, rows = (*HEADER, "ms", "of parent's ms", "export s"), list(rows)
    commits = ", ".join(sorted({row.commit for row in rows if row.commit})) or "not told"
    lines = [
        f"# Every variant on every target\n\nMeasured on {machine}. Commits: {commits}. Command: `make matrix`.\n",
        INTRODUCTION,
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    return "\n".join(lines + [f"| {' | '.join(_cells(row))} |" for row in rows]) + "\n"


def proved(rows: Iterable[Row], before: Proved) -> Proved:
    """Variant -> target -> precision -> what was proved there.

    Args:
        before: the table so far; what no row speaks of stays.
    """
    table: Proved = json.loads(json.dumps(before, allow_nan=False))
    for row in rows:
        targets = table.setdefault(row.variant, {})
        precisions = targets.setdefault(row.target, {})
        precisions.pop(row.precision, None)
        if row.exit_code == 0 and row.parity:
            worst = min(output["sqnr_db"] for output in row.parity["outputs"])
            precisions[row.precision] = {"sqnr_db": round(worst, 1), "evaluator": row.parity["evaluator"]}
    kept = {
        variant: {target: found for target, found in targets.items() if found} for variant, targets in table.items()
    }
    return {variant: targets for variant, targets in kept.items() if targets}


def _cells(row: Row) -> tuple[str, ...]:
    numbers = ("–",) * 5
    if row.parity:
        (output,) = row.parity["outputs"]
        figures = (output["max_abs"], output["limit_max"])
        numbers = (
            f"{row.parameters / 1e6:.1f}",
            f"{row.bytes / MIB:.1f}" if row.bytes else "–",
            *(f"{figure:.1e}" for figure in figures),
            f"{output['sqnr_db']:.0f} dB",
        )
    parameters, size, error, limit, sqnr = numbers
    latency = "–" if row.latency_ms is None else f"{row.latency_ms:.1f}"
    ratio = "–" if row.over_parent is None else f"{row.over_parent:.2f}"
    identity = (row.variant, row.target, row.precision, parameters, size)
    return (*identity, row.verdict, error, limit, sqnr, latency, ratio, f"{row.seconds:.0f}")
