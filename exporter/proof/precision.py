"""Is the precision that was asked for the precision that was built?"""

from collections.abc import Mapping

from slide_export.core.artifact import DtypeStats
from slide_export.core.precision import Precision

EIGHT_BIT = frozenset({"int8", "uint8", "uint6", "uint4"})  # palettized weights are indices of 4 to 8 bits
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
WEIGHTS = FLOATS | EIGHT_BIT
HALF_KEPT = 0.5
"""The least share where modules were kept in float on purpose: with more of them it is another precision."""
NOTABLE = 0.01
"""Of the bytes of 8-bit weights: a type with less is that of zero points."""
INTEGER_SHARE = 0.8
"""Of the products that have 8-bit weights, in int8: a runtime may leave one in float whose neighbours are."""


def satisfies(stats: DtypeStats, precision: Precision, *, some_kept: bool = False) -> bool:
    """Whether weights and products are in the precision asked for, at least half of them where some are kept.

    A runtime's choice of type is judged in int8 and bf16 alone: there it is what was asked for, and no other machine's
    concern.
    Of a target that counts no types nothing can be judged; `describe` says so.
    """
    if not stats.counted:
        return True
    most = HALF_KEPT if some_kept else 1.0  # never more than the precision itself demands
    if share(stats.stored, precision.stored) < min(precision.stored_share, most):
        return False
    if precision.computes_integers:
        # > 0: a graph without marked products is not int8.
        return stats.computed.get("int8", 0) >= INTEGER_SHARE * stats.marked > 0
    if precision.quantized:
        return stats.marked > 0  # weights alone are quantized: the products compute in float by design
    if not stats.fixed and not precision.needs_hardware:
        return True
    return share(stats.computed, precision.computed) >= min(precision.computed_share, most)


def share(counts: Mapping[str, int], kind: str) -> float:
    """Share of what is a weight or computes with weights that has an element type, 0 to 1; every 8-bit type is one."""
    # Int8 may be stored as uint8 with a zero point, or as palette indices.
    right = EIGHT_BIT if kind in EIGHT_BIT else {kind}
    total = sum(count for found, count in counts.items() if found in WEIGHTS)
    return sum(count for found, count in counts.items() if found in right) / total if total else 0.0


def describe(stats: DtypeStats, precision: Precision) -> str:
    """The statistics in words: "asked fp16: 99 % of weight bytes are float16, 68 of 68 products compute in it"."""
    if not stats.counted:
        return f"asked {precision}: this target's backend does not count what an artifact stores and computes"
    products = sum(count for kind, count in stats.computed.items() if kind in WEIGHTS)
    where = "" if stats.fixed else " on this machine, whose runtime chooses"
    stored = f"{share(stats.stored, precision.stored):.0%} of weight bytes are {_stored_type(stats, precision)}"
    weights = f"asked {precision}: {stored}, "
    right = stats.computed.get(precision.computed, 0)
    if precision.computes_integers:
        others = products - right
        return (
            f"{weights}{right} of {stats.marked} products with such weights compute in int8, {others} in float{where}"
        )
    if precision.weights_alone:
        marked = f"those of {stats.marked} of {products} products, " if precision.quantized else ""
        return f"{weights}{marked}which compute in float"
    return f"{weights}{right} of {products} products compute in it{where}"


def _stored_type(stats: DtypeStats, precision: Precision) -> str:
    """The stored type; of 8-bit weights the types that are there, zero points left out."""
    eight = {kind: count for kind, count in stats.stored.items() if kind in EIGHT_BIT}
    if precision.stored != "int8" or not eight:
        return precision.stored
    return " or ".join(sorted(kind for kind, count in eight.items() if count >= NOTABLE * sum(eight.values())))
