"""The stored values of an artifact, held against those of the float32 build of the same graph.

In a lower precision a weight that is off by a percent is below the noise floor of the outputs; in what is stored it is
not: float16 keeps three decimals, and int8 has a step that is known. So each stored value must be the float build's,
rounded once. The float build is proved with images (`float_build`), so a chain of two proofs reaches the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import ParityError
from slide_export.core.float_build import FloatBuild, StoredFault, StoredReport
from slide_export.core.stored import ATTRIBUTE, StoredConstant

PART = re.compile(r"[._/:]|(?<=\d)(?=\D)|$")
"""Where a name may go on behind that of its source: `head.weight_half`, but not `head.weight2`."""
BIG = 2
"""Values of a tensor that has to have a counterpart: a precision adds scalars of its own, and no tensors."""


def compare(sources: Iterable[StoredConstant], stored: Iterable[StoredConstant]) -> StoredReport:
    """Hold each stored tensor against its source of the float build.

    1. A tensor whose name has that of a source in it: they are compared, in the order of their values; shapes may
       differ, [8] and [1, 8, 1, 1].
    2. A tensor or a source without a counterpart: compared with one of as many values of the other side that has none
       either, and that it equals.
    3. A tensor that is left and equals any source: a copy of it. Quantizers make one of a bias that two calls add.
    4. What is left of floats with several values: a fault.
    """
    known = {source.name: _without_steps(source) for source in sources}
    faults, alone, seen, values = [], [], set[str](), 0
    for tensor in stored:
        name = _source(tensor.name, known)
        # Another size is another tensor of a like name: a padded copy, say, which then has to be found by its values.
        if name is None or known[name].values.size != tensor.values.size:
            alone.append(tensor)
            continue
        seen.add(name)
        values += tensor.values.size
        fault = _fault(known[name], tensor)
        faults += [fault] if fault else []
    unpaired = [source for name, source in known.items() if name not in seen and _must(source)]
    more, strays = _pair(unpaired, alone, known.values())
    faults += strays
    return StoredReport(len(seen) + more, values, tuple(sorted(faults, key=lambda fault: -fault.steps)))


def _without_steps(source: StoredConstant) -> StoredConstant:
    """A source's values alone: all of them are held at once, and the artifact's type says how far off they may be."""
    return replace(source, below=np.zeros(()), above=np.zeros(()))


def judge(build: FloatBuild | None, kept: str = "") -> None:
    """Refuse an artifact whose graph is not the model in float32, or which stores other values than that graph.

    Args:
        kept: where the refused artifact is, as the end of the sentence.

    Raises:
        ParityError: names the largest error, or the tensor that is off most.
    """
    if build is None:
        return
    if not build.passed:
        raise ParityError(
            f"expected the float32 build of the same graph within {build.limit_max:.2e} of the PyTorch model, found "
            f"{build.max_abs:.2e}: the graph itself is not the model, in any precision{kept}"
        )
    if build.stored.faults:
        first, others = build.stored.faults[0], len(build.stored.faults) - 1
        more = f"; {others} other tensors are off too" if others else ""
        raise ParityError(
            f"expected every stored value to be the float32 build's, rounded once, found {first.wrong} of "
            f"{first.values} of {first.name} otherwise: {first.why}{more}{kept}"
        )


def _must(tensor: StoredConstant) -> bool:
    return bool(tensor.values.dtype.kind == "f" and tensor.values.size >= BIG and tensor.stored != ATTRIBUTE)


def _source(name: str, known: Mapping[str, StoredConstant]) -> str | None:
    """The longest name of a source that this one is or has in it, as a word.

    Given   head.weight_half, q_output_head.weight_1
    Result  head.weight
    """
    # Exporters and quantizers put words in front ("q_output_") and behind ("_half", ".1"): every cut is tried.
    starts = [0, *(match.end() for match in re.finditer("_", name))]
    ends = [match.start() for match in PART.finditer(name)]
    parts = {name[start:end] for start in starts for end in ends if start < end}
    return max((part for part in parts if part in known), key=len, default=None)


def _pair(
    sources: list[StoredConstant], alone: list[StoredConstant], known: Collection[StoredConstant]
) -> tuple[int, list[StoredFault]]:
    """Cases 2 to 4: how many found each other, and those that did not.

    Args:
        sources, alone: those without a counterpart.
        known: all sources.
    """
    tensors, paired, faults = [tensor for tensor in alone if _must(tensor)], 0, []
    # Greedy is enough: a tensor that equals two sources within rounding is either of them.
    for source in sources:
        match = next((t for t in tensors if t.values.size == source.values.size and not _fault(source, t)), None)
        if match is None:
            faults.append(_stray(source, "is in the float build and not in the artifact"))
        else:
            paired += 1
            tensors.remove(match)
    for tensor in list(tensors):
        if any(source.values.size == tensor.values.size and not _fault(source, tensor) for source in known):
            paired += 1
            tensors.remove(tensor)
    return paired, faults + [_stray(tensor, "is in the artifact and not in the float build") for tensor in tensors]


def _stray(tensor: StoredConstant, why: str) -> StoredFault:
    return StoredFault(label(tensor), tensor.values.size, tensor.values.size, float("inf"), why)


def _fault(source: StoredConstant, tensor: StoredConstant) -> StoredFault | None:
    """What is wrong with a tensor; None where it is its source, rounded once."""
    expected = source.values.reshape(-1)
    steps = _steps(expected, tensor)
    wrong = ~(steps <= 1)  # a NaN is
    if not wrong.any():
        return None
    at = int(np.nanargmax(np.where(wrong, np.nan_to_num(steps, nan=np.inf), 0)))
    found = tensor.values.reshape(-1)[at]
    place = ", ".join(map(str, np.unravel_index(at, tensor.values.shape))) if tensor.values.ndim else ""
    why = f"[{place}] is {float(found):.6g} in {tensor.stored}, the float build has {float(expected[at]):.6g}"
    return StoredFault(label(source), int(wrong.sum()), wrong.size, float(steps[at]), why)


def _steps(expected: Array, tensor: StoredConstant) -> Array:
    """Differences as multiples of what rounding can do; equal values are 0 whatever the type."""
    shape = tensor.values.shape
    # Steps differ below and above a value: at the ends of an integer type, and between the entries of a table.
    with np.errstate(invalid="ignore"):  # infinity less infinity
        difference = expected.astype(np.float64).reshape(shape) - tensor.values.astype(np.float64)
    allowed = np.where(difference < 0, np.broadcast_to(tensor.below, shape), np.broadcast_to(tensor.above, shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.abs(difference) / allowed
    # Equal is equal: 0 / 0 where the type holds the value exactly, and infinity less infinity.
    steps = np.where(expected.reshape(shape) == tensor.values, 0.0, steps)
    return np.where(np.isinf(difference), np.inf, steps).reshape(-1)


def label(tensor: StoredConstant) -> str:
    """A tensor for people: with its module where the exporter has numbered it."""
    numbered = "::" in tensor.name or tensor.name.startswith("_v_")
    return f"{tensor.name} of {tensor.module}" if numbered and tensor.module else tensor.name
