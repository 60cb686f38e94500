"""One image to the scores of its classes: logits [B, K], or their softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import RequestError, option
from slide_export.core.task import Task, answers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from slide_export.core.artifact import ModelIO, Outputs

SHOWN = 5  # classes of an answer


def outputs(io: ModelIO) -> tuple[str, ...]:
    """`probabilities` where softmax is asked for, else `logits`."""
    return ("probabilities",) if io.softmax else ("logits",)


def run(module: nn.Module, images: tuple[Tensor, ...], io: ModelIO) -> tuple[Tensor, ...]:
    """Scores [B, K] of images [B, 3, H, W]."""
    logits = module(*images)
    return (logits.softmax(dim=-1) if io.softmax else logits,)


def check(io: ModelIO, config: Any) -> None:
    """Refuse a backbone that gives no logits, a softmax of one, and labels that are not one a class of the head.

    Raises:
        RequestError: it is one, or there are more or fewer of them.
    """
    if not getattr(config, "has_logits", True):
        raise RequestError(
            "expected a classifier, found a backbone that gives maps and no logits: ask for its features"
        )
    if io.softmax and getattr(config, "num_classes", None) == 1:
        raise RequestError(
            f"expected two classes or more for {option('softmax')}, found 1, which is certain of any image: export the "
            "logit, and take its sigmoid"
        )
    refuse_labels(io, config)


def refuse_labels(io: ModelIO, config: Any) -> None:
    """Refuse labels that are not one an answer.

    Raises:
        RequestError: there are more or fewer of them.
    """
    answers = answers_of(config)
    if io.labels and len(io.labels) != answers:
        raise RequestError(f"expected {answers} labels, one a class of the head; found {len(io.labels)}")


def draw(found: Outputs, labels: Sequence[str]) -> tuple[str, ...]:
    """The likeliest classes, best first: "7 (seven)   99.2 %"."""
    import numpy as np

    (name, scores), *_ = found.items()
    values = np.asarray(scores, np.float64).reshape(-1)
    if values.size == 1:
        return likeliest(above_0(values), labels)
    if name != "probabilities":
        values = np.exp(values - values.max())
        values /= values.sum()
    return likeliest(values, labels)


def above_0(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of both answers of a single logit: that it is below 0, and above."""
    import numpy as np

    above = 1 / (1 + np.exp(-score))
    return np.concatenate([1 - above, above])


def likeliest(values: NDArray[np.float64], labels: Sequence[str]) -> tuple[str, ...]:
    """The classes with the largest of some probabilities [K], a line each."""
    import numpy as np

    best = np.argsort(-values, kind="stable")[:SHOWN]
    names = [labels[index] if labels else f"class {index}" for index in best]
    width = max(map(len, names))
    return tuple(f"{name:<{width}}  {values[index]:7.2%}" for name, index in zip(names, best, strict=True))


CLASSIFY = Task("classify", outputs, run, draw, decision_axis=1, labelled=True, check=check)
