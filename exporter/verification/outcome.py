"""How the proof of one bundle ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core import typed_json
from slide_export.core.errors import worst
from slide_export.core.proof import OutputParity, ParityReport

if TYPE_CHECKING:
    from slide_export.calibration.accuracy import AccuracyReport

VERDICTS = {
    "ParityError": "not equal",
    "PrecisionError": "another precision",
    "AccuracyError": "accuracy lost",
    "CrashError": "runtime crashed",
    "TimeLimitError": "no answer in time",
    "BackendUnavailable": "not available here",
}


@dataclass(frozen=True)
class VerifyResult:
    """How the proof of one bundle ended.

    Attributes:
        path: as it was asked for.
        exit_code: what `verify` of this bundle alone ends with.
        kind: the error's class, "" where the bundle passed.
        message: why it failed, in one sentence; "" where it passed. `on_command_line` has its options as flags.
        seconds: from reading the bundle to the verdict.
        target, precision: what the manifest says; "" where it could not be read.
        proof: None where the artifact could not be compared.
        accuracy: None where none was measured.
    """

    path: Path
    exit_code: int
    kind: str
    message: str
    seconds: float
    target: str = ""
    precision: str = ""
    proof: ParityReport | None = None
    accuracy: AccuracyReport | None = None
    on_command_line: str = ""

    @property
    def passed(self) -> bool:
        """Whether the bundle is what it claims to be."""
        return self.exit_code == 0

    @property
    def sentence(self) -> str:
        """Why it failed, in the words of the command line."""
        return self.on_command_line or self.message

    @property
    def verdict(self) -> str:
        """The outcome in two or three words."""
        if not self.passed:
            return VERDICTS.get(self.kind, "not proved")
        quantized = self.proof is not None and self.proof.accepted.min_sqnr_db is not None
        return "within quantization noise" if quantized else "proved equal"

    @property
    def tightest(self) -> OutputParity | None:
        """The output that is nearest to its limit or farthest beyond; None without a proof."""
        return self.proof.tightest if self.proof else None


def exit_code(outcomes: Sequence[VerifyResult]) -> int:
    """The exit code that tells the most."""
    return worst(outcome.exit_code for outcome in outcomes)


def as_plain(outcomes: Sequence[VerifyResult]) -> dict[str, Any]:
    """Outcomes ready for JSON, where a number that is not finite is null: JSON has none."""
    return {
        "passed": all(outcome.passed for outcome in outcomes),
        "exit_code": exit_code(outcomes),
        "bundles": [_plain(outcome) for outcome in outcomes],
    }


def _plain(outcome: VerifyResult) -> dict[str, Any]:
    content = asdict(outcome) | {"path": str(outcome.path), "passed": outcome.passed, "verdict": outcome.verdict}
    content["message"] = content.pop("on_command_line") or outcome.message
    for name, part in (("proof", outcome.proof), ("accuracy", outcome.accuracy)):
        content[name] = None if part is None else {**asdict(part), "passed": part.passed}
    plain: dict[str, Any] = typed_json.finite(typed_json.plain(content))
    return plain
