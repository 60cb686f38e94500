"""Sums over the lines of a profile: milliseconds by block of the model, by kind of operator, by what they are for."""

import re
from collections.abc import Sequence

from slide_export.backends.profile import LINEAR
from slide_export.core.measurement import KINDS, ArtifactTiming, ModuleTime

GROUPS = ("products", "attention's taps", "normalisation", "layout", "other")
NORMALISATION = re.compile(r"mvn|rms(norm)?|(skip|simplified)?(layer|batch|group|instance)_?norm\w*", re.IGNORECASE)
NORM = re.compile(r"(.*\.)?norm\w*")  # a module
TAPS = re.compile(r"(.*\.)?attns?(\.\d+)?(\.(?P<part>.+))?")
INSIDE_ATTENTION = re.compile(r"\.attns?(\.|$)")
FIRST_NAMES = re.compile(r"[^.]+(\.\d+(\.[^.]+)?)?")


def by_block(profile: Sequence[ModuleTime]) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind in each block, in the order of execution.

    A block is the parent of an attention, `layers.0.blocks.1`; a module outside every block goes by its own first
    names, `layers.0.downsample` or `patch_embed`.
    """
    blocks = {line.module[: match.start()] for line in profile if (match := INSIDE_ATTENTION.search(line.module))}
    total: dict[str, dict[str, float]] = {}
    for line in profile:
        first = FIRST_NAMES.match(line.module)
        outside = first[0] if first else ""
        block = next((block for block in blocks if f"{line.module}.".startswith(f"{block}.")), outside)
        ms_by_kind = total.setdefault(block, {})
        ms_by_kind[line.kind] = ms_by_kind.get(line.kind, 0.0) + line.ms
    return total


def by_kind(profile: Sequence[ModuleTime]) -> dict[str, float]:
    """Milliseconds of each of `KINDS`."""
    return {kind: sum(line.ms for line in profile if line.kind == kind) for kind in KINDS}


def by_group(run: ArtifactTiming) -> dict[str, float]:
    """Milliseconds of each of `GROUPS`.

    products            of linear and patch layers, and spatial convolutions outside slide attention
    attention's taps    all that slide attention does between its linear layers, layout changes left out
    normalisation       LayerNorm and its like, whole or in the operators that a runtime splits it into
    layout              reorders, transposes, splits and their like
    other               additions, activations; attention over windows but for its linear layers
    """
    total = dict.fromkeys(GROUPS, 0.0)
    for line in run.profile:
        total[_group(line, slide=bool(run.subject.lowering))] += line.ms
    return total


def _group(line: ModuleTime, *, slide: bool) -> str:
    if line.kind == "layout":
        return "layout"
    if line.kind == "gemm":
        return "products"
    if NORMALISATION.fullmatch(line.operator) or NORM.fullmatch(line.module):
        return "normalisation"
    inside = TAPS.fullmatch(line.module)
    if slide and inside is not None and inside["part"] not in LINEAR:
        return "attention's taps"
    return "products" if line.kind == "convolution" else "other"
