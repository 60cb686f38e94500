"""What a diagnosis says: one row a module, and the module to blame."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from slide_export.parity import MULTIPLE

STANDS_OUT_DB = 12.0
"""Below the median module, where there is no noise floor to judge by: an error four times as large."""


@dataclass(frozen=True)
class Row:
    """One module of the artifact beside the trained model's in float64.

    Attributes:
        module: PyTorch name.
        sqnr_db: of its output, with all that it inherits.
        floor_db: of PyTorch at the artifact's precision; None where there is no such PyTorch.
        added_db: of its output against what the trained module makes of the artifact's own values: what is lost here.
        added_floor_db: the same of PyTorch at the artifact's precision.
        depth: modules around it, of those in the table.
    """

    module: str
    sqnr_db: float
    floor_db: float | None
    added_db: float
    added_floor_db: float | None
    depth: int

    @property
    def explained(self) -> bool:
        """Whether rounding explains what is lost here; true where there is no floor to tell."""
        if self.added_floor_db is None:
            return True
        return self.added_db >= self.added_floor_db - 20 * math.log10(MULTIPLE)


@dataclass(frozen=True)
class Diagnosis:
    """Every module in the order of execution.

    Attributes:
        evaluator: what ran the artifact.
        precision: of the artifact.
        images: how many.
        hidden: modules of the trained model whose output the artifact does not have.
    """

    evaluator: str
    precision: str
    source: str
    images: int
    rows: tuple[Row, ...]
    hidden: tuple[str, ...]

    @property
    def culprit(self) -> Row | None:
        """The first module whose error rounding cannot explain or, without a floor, the one that stands out."""
        unexplained = next((row for row in self.rows if not row.explained), None)
        if unexplained is not None or any(row.added_floor_db is not None for row in self.rows):
            return unexplained
        lossy = [row for row in self.rows if math.isfinite(row.added_db)]
        if not lossy:
            return None
        worst = min(lossy, key=lambda row: row.added_db)
        usual = statistics.median(row.added_db for row in lossy)
        return worst if worst.added_db < usual - STANDS_OUT_DB else None

    @property
    def verdict(self) -> str:
        """The diagnosis in one sentence."""
        row = self.culprit
        if row is None:
            return f"no module loses more than {self.precision} explains: the largest loss is in {self._lossiest()}"
        if row.added_floor_db is None:
            return f"{row.module} stands out: it loses to {row.added_db:.0f} dB what it is fed"
        return (
            f"{row.module} is the first whose error rounding cannot explain: {row.added_db:.0f} dB, where "
            f"{self.precision} explains {row.added_floor_db:.0f} dB"
        )

    def _lossiest(self) -> str:
        worst = min(self.rows, key=lambda row: row.added_db)
        return f"{worst.module}, {worst.added_db:.0f} dB"
