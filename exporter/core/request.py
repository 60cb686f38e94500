"""One export, whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .artifact import ModelIO

if TYPE_CHECKING:
    from slide_export.calibration.accuracy import AccuracyGoal
    from slide_export.calibration.sensitivity import MixedSearch


@dataclass(frozen=True)
class ExportRequest:
    """One export, whole: what the command line says.

    Attributes:
        form: of slide attention, or one for each stage that slides.
        tune: measure every form on this machine and take the fastest.
        images: for the parity check and, in int8, the calibration; None takes the bundled photographs.
        image_count: how many images the parity check takes at most.
        calibration_size: how many images the calibration takes at most, drawn with `seed`.
        quantization_recipe: a YAML file; None takes the target's own.
        name: of the bundle; None takes the checkpoint's file name.
        input_size: rows and columns; None takes the trained size.
        options: what the target's backend alone understands.
        comparison: take models too that are for comparison only; what becomes of them is measured and never ships.
        accuracy: what the artifact may lose; None measures nothing.
        keep_fp32: modules that stay in float, beside those that a quantization recipe keeps.
        mixed_base: what `mixed` mixes with float.
        mixed: the search that `keep_fp32` comes from.
    """

    checkpoint: Path
    target: str = "onnx"
    precision: str = "fp32"
    form: str = "auto"
    tune: bool = False
    out: Path = Path("exported")
    name: str | None = None
    overwrite: bool = False
    variant: str | None = None
    weights: str = "raw"
    input_size: tuple[int, int] | None = None
    images: Path | None = None
    image_count: int = 8
    calibration_size: int = 300
    seed: int = 0
    quantization_recipe: Path | None = None
    interface: ModelIO = field(default_factory=ModelIO)
    options: Mapping[str, str] = field(default_factory=dict)
    comparison: bool = False
    accuracy: AccuracyGoal | None = None
    keep_fp32: tuple[str, ...] = ()
    mixed_base: str = "int8"
    mixed: MixedSearch | None = None
