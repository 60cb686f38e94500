"""What a calibration saw and what its audit found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AuditFinding:
    """Something about calibration images that makes them less fit, or unfit.

    Attributes:
        name: of the check, `wrong-normalisation` for instance.
        severity: "error" or "warning".
        message: what was expected, what was found, what to do.
    """

    name: str
    severity: str
    message: str


@dataclass(frozen=True)
class CalibrationReport:
    """What the ranges of activations were observed on.

    Attributes:
        source: where the images came from.
        images: how many.
        sha256: of their pixels, as the model sees them before normalisation, in order.
        findings: what the audit said.
    """

    source: str
    images: int
    sha256: str
    findings: tuple[AuditFinding, ...]
