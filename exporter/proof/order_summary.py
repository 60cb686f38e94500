"""What a proof says of an artifact's orders: one line a layer that sorts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from slide_export.core.proof import OrderParity

from .permutation import PermutationCheck


def summary(found: Sequence[Mapping[str, tuple[PermutationCheck, ...]]]) -> tuple[OrderParity, ...]:
    """The verdict on each layer that sorts, over all batches and rounds."""
    by_layer: dict[str, list[PermutationCheck]] = defaultdict(list)
    for checks in found:
        for layer, rounds in checks.items():
            by_layer[layer] += rounds
    return tuple(_summary(layer, checks) for layer, checks in by_layer.items())


def _summary(layer: str, checks: Sequence[PermutationCheck]) -> OrderParity:
    # Two rounds may stand for one layer: the one nearest to its largest error, and the one nearest to its rms.
    highest = max(checks, key=lambda check: _share(check.disorder, check.noise.largest))
    widest = max(checks, key=lambda check: _share(check.displaced_rms, check.noise.rms))
    tokens = sum(check.tokens for check in checks)
    return OrderParity(
        layer=layer,
        tokens=tokens,
        strayed=sum(check.strayed for check in checks),
        disorder=highest.disorder,
        displaced_rms=widest.displaced_rms,
        limit_max=2 * highest.noise.largest,
        limit_rms=2 * widest.noise.rms,
        moved=sum(check.moved * check.tokens for check in checks) / tokens,
    )


def _share(value: float, noise: float) -> float:
    share = value / noise if noise else (0.0 if value == 0 else float("inf"))
    return share if share == share else float("inf")  # a NaN is the worst
