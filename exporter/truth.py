"""Is the precision that was asked for the precision that was built?"""

from collections.abc import Mapping

from .types import Census

TYPES = {"fp32": "float32", "fp16": "float16"}
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
ENOUGH = {"fp32": 1.0, "fp16": 0.95}
"""Of weight bytes and of products: in fp16, what softmax and LayerNorm need may stay float32."""


def honoured(census: Census, precision: str) -> bool:
    """Returns whether weights and, where the artifact fixes their type, products are in the precision asked for."""
    judged = [census.stored, census.computed] if census.fixed else [census.stored]
    return all(share(counts, precision) >= ENOUGH[precision] for counts in judged)


def share(counts: Mapping[str, int], precision: str) -> float:
    """Returns how much of what is floating point has the precision's type, 0 to 1."""
    total = sum(count for kind, count in counts.items() if kind in FLOATS)
    return counts.get(TYPES[precision], 0) / total if total else 0.0


def sentence(census: Census, precision: str) -> str:
    """Returns the census in words: "asked fp16: 99 % of weight bytes are float16, 68 of 68 products compute in it"."""
    products = sum(census.computed.values())
    right = census.computed.get(TYPES[precision], 0)
    where = "" if census.fixed else " on this machine, whose runtime chooses"
    return (
        f"asked {precision}: {share(census.stored, precision):.0%} of weight bytes are {TYPES[precision]}, "
        f"{right} of {products} products compute in it{where}"
    )
