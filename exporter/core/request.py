"""What a user asks for: one export, whole. `workflows.resolve` turns it into requests of one stage each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .artifact import ModelIO

if TYPE_CHECKING:
    from slide_export.models import Family

    from .task import Task


@dataclass(frozen=True)
class AccuracyGoal:
    """What an artifact may lose, and on which images that is measured.

    Attributes:
        images: a directory of class folders, a directory without, or a CSV list of file,label.
        max_drop: points of top-1; without classes, points of disagreement; of another figure, see `core.measure`; None
            asks for `MAX_DROP`, or the figure's.
        min_sqnr_db: of the outputs; None asks for `MIN_SQNR_DB` where there are no classes, else for nothing.
    """

    images: Path
    max_drop: float | None = None
    min_sqnr_db: float | None = None


@dataclass(frozen=True)
class CheckpointRequest:
    """Which model to load.

    Attributes:
        path: the checkpoint.
        variant: a model's name; None recognises it.
        weights: "raw" or "ema".
        weights_key: where in the checkpoint the weights are; None finds them.
        input_size: rows and columns; None takes the trained size.
        values: what no file tells, by name, as the family declares it; see `Family.values`.
        preprocessing: mean, std, resize, crop or interpolation as the user writes them; see `core.preprocessing`.
        comparison: take models too that are for comparison only; what becomes of them is measured and never ships.
        families, tasks: of the caller's own; empty takes those of slide_export.
    """

    path: Path
    variant: str | None = None
    weights: str = "raw"
    input_size: tuple[int, int] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    comparison: bool = False
    families: tuple[Family, ...] = ()
    tasks: tuple[Task, ...] = ()
    weights_key: str | None = None
    preprocessing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportRequest:
    """One export as the user words it, before anything is checked.

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
        weights_key, values, preprocessing, families, tasks, comparison: see `CheckpointRequest`.
        accuracy: what the artifact may lose; None measures nothing.
        keep_fp32: modules that stay in float, beside those that a quantization recipe keeps.
        mixed_base: what `mixed` mixes with float.
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
    weights_key: str | None = None
    input_size: tuple[int, int] | None = None
    images: Path | None = None
    image_count: int = 8
    calibration_size: int = 300
    seed: int = 0
    quantization_recipe: Path | None = None
    interface: ModelIO = field(default_factory=ModelIO)
    options: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    comparison: bool = False
    accuracy: AccuracyGoal | None = None
    keep_fp32: tuple[str, ...] = ()
    mixed_base: str = "int8"
    families: tuple[Family, ...] = ()
    tasks: tuple[Task, ...] = ()
    preprocessing: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> CheckpointRequest:
        """Which model to load."""
        return CheckpointRequest(
            self.checkpoint,
            self.variant,
            self.weights,
            self.input_size,
            self.values,
            self.comparison,
            self.families,
            self.tasks,
            self.weights_key,
            self.preprocessing,
        )
