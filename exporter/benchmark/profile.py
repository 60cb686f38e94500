"""Sums over the lines of a profile: milliseconds by block of the model and by kind of operator."""

import re
from collections.abc import Sequence

from slide_export.core.measurement import KINDS, ModuleTime

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
