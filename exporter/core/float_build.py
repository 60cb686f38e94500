"""The float32 build of a graph that an artifact of a lower precision was made from, and what was stored of it."""

from __future__ import annotations

from dataclasses import dataclass

from .typed_json import Count, Measured


@dataclass(frozen=True)
class StoredFault:
    """A tensor that is not the rounded tensor of the float build.

    Attributes:
        name: of the tensor, with its module where its name is a number.
        wrong: how many of its values are off by more than their stored type's rounding.
        values: how many it has.
        steps: the largest difference, as a multiple of what rounding to the stored type can do.
        why: what is wrong, in words.
    """

    name: str
    wrong: Count
    values: Count
    steps: Measured
    why: str


@dataclass(frozen=True)
class StoredReport:
    """What the comparison of stored values found.

    Attributes:
        tensors: weights, tables and constants that were compared.
        values: of all of them.
        faults: those that are not what was to be stored, the worst first.
        skipped: why nothing was compared, "" where it was.
    """

    tensors: Count
    values: Count
    faults: tuple[StoredFault, ...] = ()
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether every stored value is the float build's, rounded once."""
        return not self.faults


@dataclass(frozen=True)
class FloatBuild:
    """The float32 build of the same graph that an artifact of a lower precision was made from, and its own proof.

    In a lower precision a wrong epsilon or a transposed table may hide below the noise floor; in float32 none does. So
    the graph is proved in float32, and the artifact's stored values are held against that graph's.

    Attributes:
        evaluator: what ran it.
        images: how many.
        max_abs, limit_max: the largest error over all outputs relative to its limit: that output's error and limit.
        passed: whether it equals the trained model within float32's own limits.
        stored: the artifact's values against its values.
    """

    evaluator: str
    images: Count
    max_abs: Measured
    limit_max: Measured
    passed: bool
    stored: StoredReport

    @property
    def sentence(self) -> str:
        """What was found: "the float32 build … is equal … (2.0e-06 of 1.7e-05 allowed …); 194 stored tensors …"."""
        equal = "equal" if self.passed else "NOT equal"
        head = (
            f"the float32 build of the same graph is {equal} to the PyTorch model on {self.images} images "
            f"({self.max_abs:.1e} of {self.limit_max:.1e} allowed, {self.evaluator})"
        )
        if self.stored.skipped:
            return f"{head}; stored values are not compared: {self.stored.skipped}"
        wrong = f"{len(self.stored.faults)} are NOT" if self.stored.faults else "each is"
        return f"{head}; of {self.stored.tensors} stored tensors {wrong} that build's, rounded once"
