"""Is the precision that was asked for the precision that was built?"""

from collections.abc import Mapping

from slide_export.core.artifact import DtypeStats

EIGHT = frozenset({"int8", "uint8", "uint6", "uint4"})  # palettized weights are indices of 4 to 8 bits
TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8", "w8": "int8"}
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
WEIGHTS = FLOATS | EIGHT
STORED = {"fp32": 1.0, "fp16": 0.95, "int8": 0.5, "w8": 0.5}
"""Of weight bytes: in fp16, what softmax and LayerNorm need may stay float32; in int8, slide convolutions and what a
recipe keeps."""
COMPUTED = {"fp32": 1.0, "fp16": 0.95}
"""Of all products."""
HALF_KEPT = 0.5
"""The least of either where modules were kept in float on purpose: with more of them it is another precision."""
NOTABLE = 0.01
"""Of the bytes of 8-bit weights: a type with less is that of zero points."""
QUANTIZED = 0.8
"""Of the products that have 8-bit weights, in int8: a runtime may leave one in float whose neighbours are."""


def satisfies(census: DtypeStats, precision: str, *, some_kept: bool = False) -> bool:
    """Returns whether weights and products are in the precision asked for, at least half of them where some are kept.

    A runtime's choice of type is judged in int8 alone: there it is what was asked for, and no other machine's concern.
    """
    most = HALF_KEPT if some_kept else 1.0
    if share(census.stored, precision) < min(STORED[precision], most):
        return False
    if precision == "int8":
        return census.computed.get("int8", 0) >= QUANTIZED * census.marked > 0
    if precision == "w8":
        return census.marked > 0
    return not census.fixed or share(census.computed, precision) >= min(COMPUTED[precision], most)


def share(counts: Mapping[str, int], precision: str) -> float:
    """Returns how much of what is a weight or computes with weights has the precision's type, 0 to 1."""
    right = EIGHT if precision in ("int8", "w8") else {TYPES[precision]}
    total = sum(count for kind, count in counts.items() if kind in WEIGHTS)
    return sum(count for kind, count in counts.items() if kind in right) / total if total else 0.0


def _found(census: DtypeStats, precision: str) -> str:
    """Returns the type that a precision stores; of 8-bit weights those that are there, zero points left out."""
    eight = {kind: count for kind, count in census.stored.items() if kind in EIGHT}
    if precision not in ("int8", "w8") or not eight:
        return TYPES[precision]
    return " or ".join(sorted(kind for kind, count in eight.items() if count >= NOTABLE * sum(eight.values())))


def sentence(census: DtypeStats, precision: str) -> str:
    """Returns the census in words: "asked fp16: 99 % of weight bytes are float16, 68 of 68 products compute in it"."""
    products = sum(census.computed.values())
    right = census.computed.get(TYPES[precision], 0)
    where = "" if census.fixed else " on this machine, whose runtime chooses"
    weights = (
        f"asked {precision}: {share(census.stored, precision):.0%} of weight bytes are {_found(census, precision)}, "
    )
    if precision == "w8":
        return f"{weights}those of {census.marked} of {products} products, which compute in float"
    if precision == "int8":
        others = products - right
        return (
            f"{weights}{right} of {census.marked} products with such weights compute in int8, {others} in float{where}"
        )
    return f"{weights}{right} of {products} products compute in it{where}"
