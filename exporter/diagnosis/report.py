"""What a diagnosis says: one row a module, and the module to blame."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

EXACT_DB = 100.0
"""From here on a module loses nothing but float32 rounding."""

STANDS_OUT_DB = 12.0
"""Below the median module: an error four times as large."""


@dataclass(frozen=True)
class Row:
    """One module of the artifact beside the trained model's in float64.

    A number of decibels is infinite where nothing differs, and NaN where the artifact's values are not finite.

    Attributes:
        module: PyTorch name.
        sqnr_db: of its output, with all that it inherits.
        floor_db: of PyTorch at the artifact's precision; None where there is no such PyTorch.
        added_db: of its output against what the trained module makes of the artifact's own values: what is lost here.
        added_floor_db: the same of PyTorch at the artifact's precision.
        depth: modules around it, of those in the table.
        multiple: of the floor's error, that rounding explains; as in the parity check.
        call, calls: of a module that one image calls several times, the call that the numbers are of, from 1, and how
            often it is called.
    """

    module: str
    sqnr_db: float
    floor_db: float | None
    added_db: float
    added_floor_db: float | None
    depth: int
    multiple: float
    call: int = 1
    calls: int = 1

    @property
    def label(self) -> str:
        """`bbox_head.retina_cls, call 3 of 5`: what the numbers are of."""
        return self.module if self.calls == 1 else f"{self.module}, call {self.call} of {self.calls}"

    @property
    def explained(self) -> bool:
        """Whether rounding explains what is lost here; true where there is no floor to tell."""
        if math.isnan(self.added_db):
            return False
        if self.added_floor_db is None:
            return True
        return not self.added_db < self.added_floor_db - 20 * math.log10(self.multiple)

    @property
    def loss(self) -> float:
        """What is lost here as something to sort by: the less, the worse."""
        return -math.inf if math.isnan(self.added_db) else self.added_db


def worst_call(rows: Sequence[Row]) -> Row:
    """The row that stands for a module: of its lossiest call, of those that rounding does not explain if there are any.

    Args:
        rows: one a call, in their order.
    """
    call, worst = min(enumerate(rows, 1), key=lambda one: (one[1].explained, one[1].loss))
    return replace(worst, call=call, calls=len(rows))


@dataclass(frozen=True)
class Diagnosis:
    """Every module in the order of execution.

    Attributes:
        evaluator: what ran the artifact.
        precision: of the artifact.
        images: how many.
        hidden: modules of the trained model whose output the artifact does not have.
        refused_below_db: what the recipe of an artifact that was refused asks of the outputs; None where the artifact
            passed, or no recipe asks anything.
        repeated: layers that one image calls several times, as a detector's head is on each level, and of which the
            artifact does not tell the calls apart: not compared.
    """

    evaluator: str
    precision: str
    source: str
    images: int
    rows: tuple[Row, ...]
    hidden: tuple[str, ...]
    refused_below_db: float | None = None
    repeated: tuple[str, ...] = ()

    @property
    def culprit(self) -> Row | None:
        """The module to blame: the first whose error rounding cannot explain, else one that rounding costs too much.

        The latter is looked for where the artifact was refused for what its quantization costs, and where there is no
        floor: the first below what is asked of the outputs, or the one that stands out.
        """
        unexplained = next((row for row in self.rows if not row.explained), None)
        floored = any(row.added_floor_db is not None for row in self.rows)
        if unexplained is not None or (floored and self.refused_below_db is None):
            return unexplained
        least = -math.inf if self.refused_below_db is None else self.refused_below_db
        return next((row for row in self.rows if row.added_db < least), None) or self._standing_out()

    def _standing_out(self) -> Row | None:
        lossy = [row for row in self.rows if row.added_db < EXACT_DB]
        if not lossy:
            return None
        worst = min(lossy, key=lambda row: row.loss)
        usual = statistics.median(row.loss for row in lossy)
        return worst if worst.loss < usual - STANDS_OUT_DB else None

    @property
    def verdict(self) -> str:
        """The diagnosis in one sentence."""
        row = self.culprit
        if row is None:
            refused = "" if self.refused_below_db is None else ", and none stands out: search with precision mixed"
            largest = f"the largest loss is in {self._lossiest()}"
            return f"no module loses more than {self.precision} explains: {largest}{refused}"
        if math.isnan(row.added_db):
            return f"{row.label} is the first whose values are not finite: {self.precision} overflows there"
        if row.added_floor_db is None:
            return f"{row.label} stands out: it loses to {row.added_db:.0f} dB what it is fed"
        if row.explained:
            return (
                f"{self.precision} itself cannot hold {row.label}: {decibels(row.added_db)} by rounding alone; "
                f"keep it in float: keep_fp32: [{row.module}]"
            )
        return (
            f"{row.label} is the first whose error rounding cannot explain: {decibels(row.added_db)}, where "
            f"{self.precision} explains {decibels(row.added_floor_db)}"
        )

    def _lossiest(self) -> str:
        worst = min(self.rows, key=lambda row: row.loss)
        return f"{worst.label}, {decibels(worst.added_db)}"


def decibels(value: float | None) -> str:
    """Format decibels: "33 dB", "exact" where nothing differs, "overflow" where values are not finite, "-" for None."""
    if value is None:
        return "-"
    if math.isnan(value):
        return "overflow"
    return "exact" if value == math.inf else f"{value:z.0f} dB"  # z: no "-0"
