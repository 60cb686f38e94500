"""What a model is for: the images that it takes, what it gives, and where a decision is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RequestError, option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from slide_export.models import Family

    from .artifact import Array, ModelIO, Outputs
    from .measure import Measure
    from .proof import Rule


def same_file(file: Path) -> tuple[Path, ...]:
    """A sample of a single input is its file."""
    return (file,)


def no_classes(_io: ModelIO) -> tuple[str, ...]:
    """A task whose outputs are numbers, none of them a decision already."""
    return ()


def no_margins(
    _module: nn.Module, _found: Mapping[str, Tensor], _size: tuple[int, int], _io: ModelIO
) -> Mapping[str, Tensor]:
    """A task whose outputs are numbers has their margins in them."""
    return {}


def nothing_to_check(_io: ModelIO, _config: Any) -> None:
    """A task whose inputs and outputs fit every model of its families."""


def no_rule(_io: ModelIO, _config: Any, _size: tuple[int, int]) -> Rule | None:
    """A task none of whose outputs follows from the others."""
    return None


def answers(scores: Array, axis: int) -> Array:
    """Scores of every answer: a single score is held against 0, which stands before it."""
    import numpy as np

    return np.concatenate([np.zeros_like(scores), scores], axis=axis) if scores.shape[axis] == 1 else scores


def answers_of(config: Any) -> int:
    """How many answers a head's scores tell apart: one a class; of a single score, whether it is above 0."""
    return 2 if config.num_classes == 1 else int(config.num_classes)


@dataclass(frozen=True)
class Task:
    """One kind of model: everything between files of pictures and an answer that is not the model itself.

    A family names its task (`Family.task`); `slide_export.tasks.TASKS` lists them.

    Attributes:
        name: as manifests have it.
        inputs: names of the inputs, an image each, in the order that the module takes them.
        outputs: names of the outputs, first axis the batch.
        run: (module, normalised images [B, 3, H, W] one an input, io) -> the outputs, in the order of `outputs`.
        decision_axis: axis of the first output along which the largest value is the answer: 1 for logits [B, K], one
            decision an image, and for [B, K, H, W], one a pixel. None where nothing is decided.
        labelled: whether `--eval` may know the class of an image, so that top-1 means something.
        sample: image file -> the file of every input, the first of which is that file; empty for a file that is no
            first input: `left/1.png` -> `left/1.png, right/1.png`, and `right/1.png` -> nothing.
        choices: what `ModelIO.output` may ask for, the default first; none where there is nothing to choose.
        classes: outputs that are decisions already, whole numbers, and no scores.
        margins: (module, outputs of some images in float64, rows and columns of the input, io) -> of each of `classes`,
            by how much each decision is preferred to the next, in the units of the first output.
        rule: (io, configuration of the model, rows and columns of the input) -> what an output is proved by that
            follows from the others; None where none does. `ModelIO.nms` asks for such an output.
        check: refuse what this task's inputs and outputs cannot be for a configuration; raises `RequestError`.
        draw: the outputs of one image and the class names -> the answer, a line each.
        measure: what `--eval` tells where images have a truth that is no class; None where there is nothing.
        picture: (outputs of one image, the pictures that it was made of, uint8 [H, W, 3], configuration of the model)
            -> the answer as a picture, uint8 [H', W', 3]; None where an answer is words alone.
    """

    name: str
    outputs: Callable[[ModelIO], tuple[str, ...]]
    run: Callable[[nn.Module, tuple[Tensor, ...], ModelIO], tuple[Tensor, ...]]
    draw: Callable[[Outputs, Sequence[str]], tuple[str, ...]]
    inputs: tuple[str, ...] = ("images",)
    decision_axis: int | None = None
    labelled: bool = False
    sample: Callable[[Path], tuple[Path, ...]] = same_file
    choices: tuple[str, ...] = ()
    classes: Callable[[ModelIO], tuple[str, ...]] = no_classes
    margins: Callable[[nn.Module, Mapping[str, Tensor], tuple[int, int], ModelIO], Mapping[str, Tensor]] = no_margins
    rule: Callable[[ModelIO, Any, tuple[int, int]], Rule | None] = no_rule
    check: Callable[[ModelIO, Any], None] = nothing_to_check
    measure: Measure | None = None
    picture: Callable[[Outputs, Sequence[NDArray[np.uint8]], Any], NDArray[np.uint8]] | None = None

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of the inputs' columns in a CSV list."""
        return (self.measure.pair[0],) if self.measure else self.inputs

    def chosen(self, io: ModelIO) -> ModelIO:
        """`io` with the output that it asks for, or the default.

        Raises:
            RequestError: it asks for one that this task does not have, or for a choice among boxes that it has not.
        """
        if io.nms and self.rule is no_rule:
            raise RequestError(f"expected {option('nms')} of a detector, whose boxes overlap; found {self.name}")
        if not io.output:
            return replace(io, output=self.choices[0] if self.choices else "")
        if io.output not in self.choices:
            have = ", ".join(self.choices) or "no other outputs than its own"
            raise RequestError(f"expected {option('output')} of {self.name} ({have}), found {io.output!r}")
        return io


@dataclass(frozen=True)
class Known:
    """Families and tasks of the caller's own, which a checkpoint or a bundle may be of; empty takes slide_export's."""

    families: tuple[Family, ...] = ()
    tasks: tuple[Task, ...] = ()


NOTHING_MORE = Known()
