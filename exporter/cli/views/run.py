"""Answers as text, and as plain values for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slide_export.core.text import foreign

from .literal import LONGEST

if TYPE_CHECKING:
    from slide_export.core.artifact import Array, Outputs
    from slide_export.workflows.run import Answer, RunResult

LISTED = 4096  # values of an output that JSON lists; of a larger one, a map say, shape and range alone
GAP = "   "


def as_text(result: RunResult) -> str:
    """A paragraph an image: the artifact's answer and, beside it, the PyTorch model's."""
    head = f"{result.bundle.name}: {result.target} {result.precision}, {result.task} ({result.evaluator})"
    lines = (head, *(line for answer in result.answers for line in _paragraph(answer)))
    return "\n".join(foreign(line, LONGEST) for line in lines)  # names of files and classes are others'


def _paragraph(answer: Answer) -> Iterator[str]:
    yield ""
    yield str(answer.image)
    if answer.trained is None:
        yield from (f"  {line}" for line in answer.drawn)
        return
    left, right = ("artifact", *answer.drawn), ("PyTorch", *answer.trained_drawn)
    width = max(map(len, left))
    for ours, theirs in zip(left, right, strict=True):
        yield f"  {ours:<{width}}{GAP}{theirs}".rstrip()
    yield f"  largest difference {answer.largest_difference:.1e}"


def as_plain(result: RunResult) -> dict[str, Any]:
    """The same ready for JSON."""
    return {
        "bundle": str(result.bundle),
        "target": result.target,
        "precision": result.precision,
        "task": result.task,
        "evaluator": result.evaluator,
        "images": [
            {
                "image": str(answer.image),
                "drawn": list(answer.drawn),
                "outputs": _outputs(answer.outputs),
                "pytorch": None
                if answer.trained is None
                else {"drawn": list(answer.trained_drawn), "outputs": _outputs(answer.trained)},
                "largest_difference": answer.largest_difference,
            }
            for answer in result.answers
        ],
    }


def _outputs(outputs: Outputs) -> dict[str, Any]:
    return {name: _output(value) for name, value in outputs.items()}


def _output(value: Array) -> dict[str, Any]:
    told: dict[str, Any] = {"shape": list(value.shape), "min": float(value.min()), "max": float(value.max())}
    return told | ({"values": value.tolist()} if value.size <= LISTED else {})
