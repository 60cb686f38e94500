"""Two views of one breast, CC and MLO, to the scores of classes: logits [B, K], of which upstream takes sigmoids.

A sample is a pair of files of equal names in folders CC and MLO; a list has the columns cc and mlo.

Source: prithuls/MV-Swin-T 10fdf46, demo.ipynb.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import RequestError
from slide_export.core.task import Task

from .classify import above_0, likeliest, refuse_labels

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs

FIRST, SECOND = "CC", "MLO"


def outputs(_io: ModelIO) -> tuple[str, ...]:
    """Logits."""
    return ("logits",)


def run(module: nn.Module, images: tuple[Tensor, ...], _io: ModelIO) -> tuple[Tensor, ...]:
    """Logits [B, K] of two views [B, 3, H, W] each."""
    logits: Tensor = module(*images)
    return (logits,)


def check(io: ModelIO, config: Any) -> None:
    """Refuse a softmax, which the model does not have, and labels that are not one an answer.

    Raises:
        RequestError: it is asked for, or there are more or fewer labels.
    """
    if io.softmax:
        raise RequestError("expected classify_views without softmax: its models end in sigmoids; take those of logits")
    refuse_labels(io, config)


def sample(file: Path) -> tuple[Path, ...]:
    """`CC/1.png` -> `CC/1.png, MLO/1.png`, whatever folders are around or between; any other file -> nothing."""
    folders = file.parts[:-1]
    if FIRST not in folders:
        return ()
    place = len(folders) - 1 - folders[::-1].index(FIRST)
    return (file, Path(*folders[:place], SECOND, *file.parts[place + 1 :]))


def draw(found: Outputs, labels: Sequence[str]) -> tuple[str, ...]:
    """The sigmoid of each logit, largest first; of a single logit, both answers."""
    import numpy as np

    ((_, scores),) = found.items()
    logits = np.asarray(scores, np.float64).reshape(-1)
    return likeliest(above_0(logits) if logits.size == 1 else 1 / (1 + np.exp(-logits)), labels)


CLASSIFY_VIEWS = Task(
    "classify_views",
    outputs,
    run,
    draw,
    inputs=("cc", "mlo"),
    decision_axis=1,
    labelled=True,
    sample=sample,
    check=check,
)
