"""What is counted over images of two models' answers; counts of consecutive parts add up to those of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slide_export.core.task import answers

TOP_K = 5
COUNTS = ("images", "width", "agreed", "pytorch", "artifact", "lost", "won")


@dataclass
class Tally:
    """Counts over the images seen so far.

    Sums of floats depend on their order in the last bit, so they are kept as terms, in the order of the images, and
    added up when they are asked for: whoever counted the parts, the sum is the same.
    """

    images: int = 0
    width: int = 0  # classes of the head, 0 where the outputs are no scores
    agreed: int = 0
    pytorch: list[int] = field(default_factory=lambda: [0, 0])  # right among the first 1, among the first 5
    artifact: list[int] = field(default_factory=lambda: [0, 0])
    lost: int = 0
    won: int = 0
    signals: list[float] = field(default_factory=list)  # sum of squares of each output of each chunk
    noises: list[float] = field(default_factory=list)
    answers: Counter[tuple[int, int]] = field(default_factory=Counter)  # (class, PyTorch's answer)

    @property
    def signal(self) -> float:
        """Sum of squares of the trained model's outputs."""
        return _folded(self.signals)

    @property
    def noise(self) -> float:
        """Sum of squares of what the artifact's differ by."""
        return _folded(self.noises)

    def add(
        self,
        expected: Mapping[str, NDArray[np.generic]],
        found: Mapping[str, NDArray[np.generic]],
        classes: NDArray[np.int64] | None,
    ) -> None:
        """Count one chunk."""
        for name, values in expected.items():
            exact = np.asarray(values, np.float64)
            self.signals.append(float(np.square(exact).sum()))
            self.noises.append(float(np.square(np.asarray(found[name], np.float64) - exact).sum()))
        ours, theirs = np.asarray(next(iter(expected.values()))), np.asarray(next(iter(found.values())))
        self.images += len(ours)
        if ours.ndim != 2 or len(expected) > 1:
            return
        ours, theirs = answers(ours, 1), answers(theirs, 1)
        self.width = ours.shape[1]
        self.agreed += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        if classes is None:
            return
        self.answers.update(zip(classes.tolist(), ours.argmax(axis=1).tolist(), strict=True))
        first, second = self._score(ours, classes, self.pytorch), self._score(theirs, classes, self.artifact)
        self.lost += int((first & ~second).sum())
        self.won += int((second & ~first).sum())

    def _score(self, scores: NDArray[np.generic], classes: NDArray[np.int64], into: list[int]) -> NDArray[np.bool_]:
        right = np.asarray(scores.argmax(axis=1) == classes)
        into[0] += int(right.sum())
        if self.width > TOP_K:
            best = np.argpartition(scores, -TOP_K, axis=1)[:, -TOP_K:]
            into[1] += int((best == classes[:, None]).any(axis=1).sum())
        return right

    def extend(self, later: Tally) -> None:
        """Take in the counts of the images that follow."""
        self.images += later.images
        self.width = self.width or later.width
        self.agreed += later.agreed
        self.pytorch = [one + other for one, other in zip(self.pytorch, later.pytorch, strict=True)]
        self.artifact = [one + other for one, other in zip(self.artifact, later.artifact, strict=True)]
        self.lost += later.lost
        self.won += later.won
        self.signals += later.signals
        self.noises += later.noises
        self.answers.update(later.answers)

    def plain(self) -> dict[str, Any]:
        """The counts as JSON holds them; floats in hexadecimal, which is exact and knows infinity."""
        return {
            **{name: getattr(self, name) for name in COUNTS},
            "signals": [value.hex() for value in self.signals],
            "noises": [value.hex() for value in self.noises],
            "answers": [[*pair, count] for pair, count in self.answers.items()],
        }

    @classmethod
    def parsed(cls, plain: Mapping[str, Any]) -> Tally:
        """The counts that `plain` made this of."""
        return cls(
            **{
                **plain,
                "signals": [float.fromhex(value) for value in plain["signals"]],
                "noises": [float.fromhex(value) for value in plain["noises"]],
                "answers": Counter({(label, answer): count for label, answer, count in plain["answers"]}),
            }
        )


def _folded(terms: list[float]) -> float:
    """The sum from left to right; `sum` adds floats otherwise since Python 3.12."""
    total = 0.0
    for term in terms:
        total += term
    return total
